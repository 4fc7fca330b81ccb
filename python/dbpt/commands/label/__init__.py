"""`draw_label_sample` and `judge_labels`: guesses checked by a person."""
