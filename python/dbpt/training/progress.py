"""How far training is, for whoever watches a terminal."""

from collections.abc import Callable

from dbpt.training.records import EpochRecord


class progress_bar:
    """Context manager that gives ``train`` its ``on_epoch``: a tqdm bar where standard error is a terminal."""

    def __init__(self, title: str, epochs: int, *, hidden: bool = False) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=epochs, desc=title, unit="epoch", disable=hidden or None, leave=False)

    def __enter__(self) -> Callable[[EpochRecord], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _show(self, record: EpochRecord) -> None:
        self._bar.update(record.epoch - self._bar.n)
        judged = record.val_average if record.val_wga is None else record.val_wga
        self._bar.set_postfix_str(f"loss {record.loss:.3f}, val {100 * judged:.1f} %")
