"""Structured masks and the decoding of their outputs: SPEX (Kang et al. 2025, arXiv 2502.13870)."""
