"""Critics: networks that score how well a representation and a picture go together."""
