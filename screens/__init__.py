"""The Textual app. It draws frozen results and never touches a model."""
