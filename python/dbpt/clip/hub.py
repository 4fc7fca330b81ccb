"""Access to a model hub through open_clip: without log output, and without long waits if there is no network."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

CONNECT_SECONDS = 5.0


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Silence the logs of other libraries, whose errors are raised; go offline if the hub can't be reached.

    Otherwise the hub's client retries for 23 seconds, which no setting changes. Behind a proxy the client decides.
    """
    from huggingface_hub import constants

    endpoint, offline = urlsplit(constants.ENDPOINT), constants.HF_HUB_OFFLINE
    handler, chatty = logging.NullHandler(), (logging.root, logging.getLogger("huggingface_hub"))
    before = [logger.level for logger in chatty]
    logging.root.addHandler(handler)  # without one, logging.warning() would install its own for good
    for logger in chatty:
        logger.setLevel(logging.CRITICAL)
    try:
        if not offline and not getproxies():
            try:
                socket.create_connection((endpoint.hostname, endpoint.port or 443), CONNECT_SECONDS).close()
            except OSError:
                constants.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.root.removeHandler(handler)
        for logger, level in zip(chatty, before, strict=True):
            logger.setLevel(level)
