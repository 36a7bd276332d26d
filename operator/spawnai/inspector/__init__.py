"""Opens an app's page in a browser, and says what is wrong with it."""
