"""The rows of a table, several at a time: for fcgi_hostile.py and
http_hostile.py."""

import sys
import threading


class Check:
    """What rows are held against: an image as it was, and what failed."""

    def __init__(self, path, image):
        self.path, self.image = path, image
        with open(image, "rb") as file:
            self.content = file.read()
        self.failures = []
        self.lock = threading.Lock()

    def fail(self, name, text):
        with self.lock:
            self.failures.append(f"{name}: {text}")


def run(table, row, fail, at_once):
    """Calls row(*line) for each line of the table, and fail(name, why) where
    that meets an OSError.  Returns how many there were."""
    table = list(table)
    names = [line[0] for line in table]
    for name in set(names):
        if names.count(name) != 1:
            sys.exit(f"two rows of one name: {name}")
    rest = iter(table)
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                line = next(rest, None)
            if line is None:
                return
            try:
                row(*line)
            except OSError as error:
                fail(line[0], repr(error))

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(table)
