"""Speed of the device: ``opusim run -m lightonml.cmd_line.opu_test -ns 3000 -nf 1000 -nc 2000``."""

import argparse
import sys
import time

import numpy as np

import lightonml
from lightonml.internal import config


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def transform(
    n_images: int,
    n_features: int,
    n_components: int = 0,
    disable_pbar: bool = False,
    linear: bool = False,
    config_file: str = "",
) -> None:
    """Transform vectors of ones; write how long it took.

    Parameters
    ----------
    n_images, n_features : int
        Number of vectors, and of features of each.
    n_components : int
        Components of an output; 0 for the default.
    disable_pbar : bool
        Whether no progress bar is shown.
    linear : bool
        Whether the transform is the linear one.
    config_file : str
        json of a device, in place of the simulated one's own.
    """
    opu = lightonml.OPU(disable_pbar=disable_pbar, open_at_init=False, config_file=config_file)
    if n_components:
        opu.n_components = n_components
    ones = np.ones((n_images, n_features), dtype=np.uint8)
    with opu:
        _write(opu.version())
        start = time.perf_counter()
        opu.fit1d(ones)
        (opu.linear_transform if linear else opu.transform)(ones)
        took_s = time.perf_counter() - start
    _write(f"{n_images} transforms in {took_s:.2f} s ({n_images / took_s:.2f} Hz)")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Transform vectors of ones, and say how long it took.")
    parser.add_argument("-ns", "--n-samples", type=int, default=3000, help="number of vectors")
    parser.add_argument("-nc", "--n-components", type=int, default=0, help="components of an output")
    parser.add_argument("-nf", "--n-features", type=int, default=100, help="features of a vector")
    parser.add_argument("-v", "--verbose", type=int, default=1, help="0 is quiet, 1 shows progress")
    parser.add_argument("-c", "--config-file", default="", help="json of a device")
    parser.add_argument("-V", "--version", action="store_true", help="show versions and stop")
    parser.add_argument("-l", "--linear", action="store_true", help="linear transform")
    parser.add_argument("-dp", "--disable-pbar", action="store_true", help="no progress bar")
    options = parser.parse_args()
    if options.version:
        _write(config.opu_version(config.load_config(options.config_file)))
        _write(f"lightonml version {lightonml.__version__}")
        import lightonopu

        _write(f"lightonopu version {lightonopu.__version__}")
        return
    lightonml.set_verbose_level(options.verbose)
    transform(
        options.n_samples,
        options.n_features,
        options.n_components,
        options.disable_pbar,
        options.linear,
        options.config_file,
    )


if __name__ == "__main__":
    main()
