"""Gradient-boosted proxies of mask to output, and their exact Fourier spectrum."""
