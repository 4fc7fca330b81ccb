"""`fit`: train, choose what is saved, write the run folder."""
