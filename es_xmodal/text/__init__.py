"""How is text normalised and tokenised."""
