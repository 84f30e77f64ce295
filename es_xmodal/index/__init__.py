"""Which indices exist, may I write, swap, roll back."""
