"""The command ``opusim transform``."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import (
    DeviceOption,
    ForceOption,
    PartOption,
    SeedOption,
    _check_components,
    _folder_of,
    _progress,
    command,
    err,
    out,
)
from .tables import joules


@command("transform", order=11)
def transform(
    source: Annotated[
        Path, typer.Argument(help="A .npy file of 0 and 1, or phases in turns: one vector a row (or image, with --2d).")
    ],
    target: Annotated[Path, typer.Argument(help="The .npy file to write: one row of counts for each vector.")],
    device: DeviceOption = "aurora",
    components: Annotated[int, typer.Option("--components", "-n", help="Outputs: camera pixels to read.")] = 10_000,
    seed: SeedOption = 0,
    two_d: Annotated[bool, typer.Option("--2d", help="Vectors are images (n, rows, columns): macro-pixels.")] = False,
    packed: Annotated[
        bool, typer.Option("--packed", help="Eight features in a byte, the first in the highest bit.")
    ] = False,
    features: Annotated[
        str, typer.Option("--features", help="With --packed --2d: rows and columns of an image, as 28x28.")
    ] = "",
    part: PartOption = None,
    force: ForceOption = False,
) -> None:
    """Project the vectors of a .npy file and write the camera's counts to another."""
    from opusim.base.files import NpyWriter, open_npy, replacing
    from opusim.base.npy_parts import RowsOf, append_note
    from opusim.base.parts import Part

    _check_components(components)
    opened = _state(source) if source.exists() else ()
    data = open_npy(source)
    shape = _check_vectors(source, data, two_d, packed, features)
    _folder_of(target)
    if target.suffix != ".npy":
        raise ValueError(f"The output is {str(target)!r}, but its name must end in .npy.")
    chosen = None if part is None else Part.parse(part)
    if chosen is not None:
        target = chosen.beside(target)
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target} is the input itself: the output needs a name of its own, with --force too.")
    if target.exists() and not force:
        raise FileExistsError(f"{target} is there already; --force replaces it.")

    with err.status("Loading the simulation …"):
        from opusim.drivers import OPU

        opu = OPU(n_components=components, device=device, seed=seed, disable_pbar=True)
    # Before the light, which may take hours: what is shown is what was hashed.
    digest = "" if chosen is None else _digest(source)
    with opu:
        if two_d:
            opu.fit2d(data, shape, packed)
        else:
            opu.fit1d(data, packed=packed)
        dtype = opu.device.output_dtype
        rows = slice(0, len(data)) if chosen is None else chosen.rows(len(data))
        n = rows.stop - rows.start
        needed, free = n * components * dtype.itemsize, shutil.disk_usage(target.parent).free
        if needed > free:
            sizes = f"{needed / 2**20:.0f} MiB, but its disk has only {free / 2**20:.0f} MiB left"
            raise OSError(f"{target} needs {sizes}.")
        start = time.perf_counter()
        # The frames of all vectors, whichever of them are shown here.
        batch = opu.batch(len(data))
        with replacing(target) as temporary:
            with (
                NpyWriter(temporary, (n, components), dtype, named=target) as writer,
                _progress("Preparing (the first use compiles)", "Projecting", n) as advance,
            ):
                # In steps that keep memory small and the bar moving. The counts do not depend on the steps.
                step = max(1, min(500, (64 << 20) // (components * dtype.itemsize)))
                for first in range(rows.start, rows.stop, step):
                    before = data[first - 1 : first] if first else None
                    counts = batch.transform(data[first : min(first + step, rows.stop)], first, before)
                    writer.append(counts)
                    advance(len(counts))
            if chosen is not None:
                now = _state(source) if source.exists() else ()
                # Touched alone, it is the same still; another file in its place is not what was mapped.
                if now != opened and (now[:1] != opened[:1] or _digest(source) != digest):
                    raise ValueError(
                        f"{source} was changed while its vectors were shown, so {target.name} is not written: run all "
                        "parts on one input."
                    )
                append_note(temporary, RowsOf(chosen, len(data), _made(opu, digest)))
        wall_s = time.perf_counter() - start
        clock = opu.bench.clock
    if chosen is not None:
        where = f"vectors {rows.start} to {rows.stop - 1}" if n else "no vectors"
        out.print(
            f"{target}: {dtype} {n} x {components}, part {chosen}, {where} of {len(data)}, in {wall_s:.1f} s.",
            markup=False,
            soft_wrap=True,
        )
        return
    out.print(
        f"{target}: {dtype} {len(data)} x {components}, in {wall_s:.1f} s. The device itself would have "
        f"needed {clock.elapsed_s:.2f} s and {joules(clock.energy_j)}.",
        markup=False,
        soft_wrap=True,
    )


def _state(source: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to: its number first."""
    stat = source.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _digest(source: Path) -> str:
    import hashlib

    with source.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest()


def _made(opu: Any, digest: str) -> dict[str, Any]:
    """Return what the counts follow from: parts of one transform have it in common."""
    import opusim

    fit = opu.current_fit
    return {
        "input": digest, "features": list(fit.traits.n_features), "packed": fit.traits.packed,
        "exposure_us": fit.exposure_us, "device": opu.model.fingerprint(), "seed": opu.device.seed,
        "memory_budget": opu.bench.memory_budget, "opusim": opusim.__version__,
    }  # fmt: skip


def _check_vectors(source: Path, data: Any, two_d: bool, packed: bool, features: str) -> tuple[int, int] | None:
    """Check the form of a file of vectors; return rows and columns of an image where the file does not tell."""
    axes = 3 if two_d and not packed else 2
    if data.ndim != axes:
        form = {2: "(vectors, features)", 3: "(images, rows, columns)"}[axes]
        other = " Images of two dimensions need --2d." if data.ndim == 3 and not two_d else ""
        raise ValueError(f"{source} has the shape {data.shape}, but it must have {axes} axes, {form}.{other}")
    if not len(data):
        raise ValueError(f"{source} has the shape {data.shape}: it holds no vectors.")
    if data.dtype.kind not in "buif":
        raise TypeError(
            f"{source} holds {data.dtype}, but it must hold booleans, or numbers that are 0 or 1, or phases."
        )
    if not (packed and two_d):
        if features:
            raise ValueError(f"--features is {features!r}, but it is only for --packed --2d: the file itself tells.")
        return None
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", features)
    if match is None:
        raise ValueError(f"--features is {features!r}, but --packed --2d needs rows and columns, as in 28x28.")
    return int(match[1]), int(match[2])
