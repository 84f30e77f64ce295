"""An encoder of a third party: texts and pictures meet in twelve colours. `--encoder colours`."""

import numpy as np

from es_xmodal.encoders.base import JOINT, Encoder, EncoderInfo, Space

SEEN = {"black": "000", "white": "fff", "grey": "888", "red": "c22", "orange": "f80", "yellow": "fd2"}
SEEN |= {"green": "293", "teal": "199", "blue": "24c", "purple": "72a", "pink": "f8b", "brown": "742"}
PALETTE = np.array([[17 * int(digit, 16) for digit in colour] for colour in SEEN.values()], np.float32)


class Colours(Encoder):
    def __init__(self):
        space = Space(name=JOINT, dim=len(SEEN), modalities=frozenset({"text", "picture"}))
        self.info = EncoderInfo(
            spec="colours",  # loads it again
            fingerprint="colours-1",  # to be changed whenever a vector changes
            spaces=(space,),
            text_space=JOINT,
            languages=("en",),
            licence="Apache-2.0",
            picture_side=16,
        )

    def prepare(self, picture):  # called in threads, one picture at a time
        pixels = np.asarray(picture.image.resize((16, 16)), np.float32).reshape(-1, 1, 3)
        nearest = np.square(pixels - PALETTE).sum(axis=2).argmin(axis=1)
        return np.bincount(nearest, minlength=len(SEEN)).astype(np.float32)

    def _picture_batch(self, batch):  # whatever `prepare` returned, at most `batch_size` of it
        return {JOINT: np.stack(batch)}

    def _text_batch(self, batch):  # length, NaN and shape are checked, and rows made unit, by the base class
        return {JOINT: np.array([[name in text.lower() for name in SEEN] for text in batch]) + 0.01}


def load(argument, options):  # `colours:ARGUMENT`; device and precision
    options.cpu_only("colours")
    return Colours()
