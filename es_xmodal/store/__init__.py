"""Have I embedded this content before."""
