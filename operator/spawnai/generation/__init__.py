"""Generation: Claude writes the app, and nothing leaves this package that was not checked."""
