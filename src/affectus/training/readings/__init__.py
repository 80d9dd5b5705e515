"""Tasks that fit the readings of conversations: a few numbers on top of the shipped words model, kept in a card."""
