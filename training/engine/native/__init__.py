"""The execution mode `native`: C++ compiled for this machine on first use."""
