"""The p-biased Fourier basis, sparse spectra, and interaction indices computed from them."""
