"""What can be told from the text of a call without asking another model."""
