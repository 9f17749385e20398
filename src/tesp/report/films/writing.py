"""Writing films: MP4 through ffmpeg, GIF through Pillow. A file appears when it is whole, or not at all."""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tesp.errors import ConfigurationError, TespError
from tesp.storage.files import written_beside

#: What the suffix of a film may be.
SUFFIXES = (".mp4", ".gif")

Frames = Iterable[UInt8[np.ndarray, "height width 3"]]


def check_suffix(path: str | os.PathLike[str], allowed: tuple[str, ...] = SUFFIXES) -> Path:
    """Return the path of a picture or film that is to be written.

    Raises:
        ConfigurationError: Its suffix is not one of those allowed.
    """
    path = Path(path)
    if path.suffix.lower() not in allowed:
        raise ConfigurationError(
            f"{path.name!r} ends in {path.suffix!r}; the name must end in {' or '.join(allowed)}, which decides "
            "the format."
        )
    return path


def write_film(path: Path, frames: Frames, frames_per_second: float) -> None:
    """Write a film, MP4 (H.264) or GIF by the suffix of its name.

    Args:
        path: Where to; its folder is made if needed.
        frames: One RGB image after the other, all of one size, of even width and height.
        frames_per_second: Above 0.

    Raises:
        ConfigurationError: The suffix is neither ``.mp4`` nor ``.gif``.
        TespError: ffmpeg is missing or failed.
    """
    check_suffix(path)
    with written_beside(path) as beside:
        (_write_mp4 if path.suffix.lower() == ".mp4" else _write_gif)(beside, frames, frames_per_second)


def _write_gif(path: Path, frames: Frames, frames_per_second: float) -> None:
    # Players know hundredths of a second only, and slow down below two of them.
    duration = 10 * max(2, round(100 / frames_per_second))
    images = (Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in frames)
    first = next(images)
    # Pillow leaves a file open that it opened itself, if it is interrupted.
    with path.open("wb") as file:
        first.save(file, "GIF", save_all=True, append_images=images, duration=duration, loop=0)


def _write_mp4(path: Path, frames: Frames, frames_per_second: float) -> None:
    frames = iter(frames)
    first = next(frames)
    with tempfile.TemporaryFile() as messages:
        # Not imageio-ffmpeg's own writer: it forks, which may hang beside JAX's threads, and drops ffmpeg's exit code.
        process = subprocess.Popen(
            _command(path, first.shape[1], first.shape[0], frames_per_second),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            start_new_session=True,  # Ctrl-C is for this process, which then ends ffmpeg
        )
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                for frame in chain([first], frames):
                    pipe.write(np.ascontiguousarray(frame).tobytes())
            code = process.wait()
        except BrokenPipeError:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if code:
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip().splitlines()
            raise TespError(f"ffmpeg could not write the film: {said[-1] if said else f'exit code {code}'}.")


def _command(path: Path, width: int, height: int, frames_per_second: float) -> list[str]:
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise TespError(f"There is no ffmpeg to write MP4 with ({error}). Choose the format GIF instead.") from error
    size, rate = f"{width}x{height}", f"{frames_per_second:g}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", "-"]
    # This colour format and the index at the file's beginning are what browsers need.
    target = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "23", "-movflags", "+faststart"]
    return [program, "-y", "-v", "error", *source, *target, str(path)]
