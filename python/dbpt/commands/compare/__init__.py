"""`compare`: rows trained with several seeds or draws."""
