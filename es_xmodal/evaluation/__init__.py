"""How good is it: queries and judgements in, measures out."""
