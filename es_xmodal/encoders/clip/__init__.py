"""Models of the CLIP kind: a picture tower and a text tower that meet in one space, run by torch."""
