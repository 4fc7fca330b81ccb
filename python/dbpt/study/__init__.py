"""The study: from settings to images, features, guesses and groups, one path for every command."""
