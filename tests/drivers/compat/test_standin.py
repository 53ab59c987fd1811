"""What stands under the names lightonml and lightonopu, beside an installed one and after `install()`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import opusim.drivers
from opusim.drivers import OPU
from opusim.drivers.compat import standin
from opusim.drivers.compat.random_mapping import OPURandomMapping

pytestmark = pytest.mark.system

HERE_ALONE = [sys.executable, "-m", "opusim", "run"]
Outcome = subprocess.CompletedProcess


@pytest.fixture
def other_lightonml(tmp_path: Path) -> Path:
    """A folder with a module lightonml that is not ours; its configuration is read as in the real one's 1.3."""
    package = tmp_path / "site" / "lightonml"
    (package / "internal").mkdir(parents=True)
    (package / "__init__.py").write_text("from lightonml.internal import config\nVERSION = 'installed'\n")
    (package / "internal" / "__init__.py").write_text("")
    (package / "internal" / "config.py").write_text(
        dedent(
            """
            import json
            from pathlib import Path

            def read():
                host_path = Path("/etc/lighton/host.json")
                return json.loads(host_path.read_text()) if host_path.exists() else None
            """
        )
    )
    return package.parent


def assert_clean(done: Outcome) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---------------------------------------------------------------- what is there


MODULES = """lightonml lightonml.opu lightonml.types lightonml.context lightonml.encoding.base lightonml.datasets
    lightonml.projections.sklearn lightonml.random_projections.opu lightonml.internal.simulated_device
    lightonml.internal.types lightonml.internal.utils lightonml.internal.config lightonml.internal.device
    lightonml.utils lightonopu lightonopu.opu lightonopu.types lightonopu.simulated_device lightonopu.internal.device
    lightonopu.formatting_v2 lightonopu.linear_reconstruction lightonopu.opu1_pybind lightonopu.opu2_pybind
    lightonopu.opu3_pybind lightonopu.inputdev_pybind""".split()


def test_every_module_is_there_and_nothing_of_another_kind_is_loaded(go):
    source = f"""
        import importlib, sys, warnings
        warnings.simplefilter("error")
        for name in {MODULES!r}:
            module = importlib.import_module(name)
            for public in getattr(module, "__all__", ()):
                getattr(module, public)
        print([name for name in ("torch", "numexpr", "pkg_resources", "requests", "dask") if name in sys.modules])
    """
    assert assert_clean(go(source)) == "[]"


def test_torch_modules_are_there(go):
    pytest.importorskip("torch")
    source = """
        from lightonml.projections.torch import OPUMap
        from lightonml.encoding.models import EncoderDecoder, LinearAE, ConvAE, train
        print(OPUMap.__name__)
    """
    assert assert_clean(go(source)) == "OPUMap"


def test_names_of_versions_before(go):
    source = """
        from lightonml.types import FeaturesFormat, InputRoiStrategy, OutputRescaling, AcqState
        from lightonml.encoding.base import MixingBitPlanDecoder
        from lightonml.projections.sklearn import OPUMap as now
        from lightonml.random_projections.opu import OPUMap as then, OPURandomMapping
        from lightonml.internal.device import OpuDevice, OpuAlreadyUsedException
        from lightonopu import OPU as first
        from lightonopu.opu import OPU as second
        from lightonml import OPU
        print(now is then, first is second is OPU, issubclass(OPURandomMapping, now.__mro__[1]), OpuDevice.__name__)
    """
    assert assert_clean(go(source)) == "True True True OpuDevice"


# ---------------------------------------------------------------- an installed lightonml


def test_installed_lightonml_is_used_and_finds_the_device(go, other_lightonml):
    source = """
        import json, sys
        before = [name for name in sys.modules if name.partition(".")[0] in ("opusim", "numpy")]
        import lightonml
        import lightonopu
        from pathlib import Path
        config = lightonml.internal.config
        print(before, lightonml.VERSION, lightonopu.__version__, isinstance(config.Path("x"), Path))
        print(Path(json.loads(config.Path("/etc/lighton/host.json").read_text())["opu_config"]).exists())
        print(config.read() is not None, config.__loader__.get_source("lightonml.internal.config") is not None)
    """
    done = go(source, PYTHONPATH=str(other_lightonml))
    lines = assert_clean(done).splitlines()
    assert lines == ["[] installed 1.4.3+opusim True", "True", "True True"]
    assert done.stderr == ""


def test_lightonml_beside_the_program_is_used(go, other_lightonml, folder):
    (other_lightonml / "lightonml").rename(folder / "lightonml")
    source = "import lightonml; print(lightonml.VERSION, lightonml.internal.config.read() is not None)"
    assert assert_clean(go(source)) == "installed True"


def test_folder_of_that_name_is_no_lightonml(go, folder):
    (folder / "lightonml").mkdir()
    (folder / "lightonml" / "notes.txt").write_text("notes")
    assert assert_clean(go("import lightonml; print(lightonml.__version__)")) == "1.4.3+opusim"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_module_that_is_gone", "ModuleNotFoundError: No module named 'a_module_that_is_gone'"),
        ("import numpy\nnumpy.float", "AttributeError: module 'numpy' has no attribute 'float'"),
        ("raise ImportError", "ImportError"),
        ("import sys; print('noise'); sys.exit('no licence')", "SystemExit: no licence"),
        ("def f(:", "SyntaxError: invalid syntax"),
    ],
)
def test_lightonml_that_cannot_be_imported_is_replaced_with_the_reason(go, tmp_path, source, reason):
    package = tmp_path / "site" / "lightonml"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    (tmp_path / "site" / "lightonml-1.4.3.dist-info").mkdir()
    (tmp_path / "site" / "lightonml-1.4.3.dist-info" / "METADATA").write_text("Name: lightonml\nVersion: 1.4.3\n")
    done = go("import lightonml; print(lightonml.__version__)", PYTHONPATH=str(tmp_path / "site"))
    assert assert_clean(done) == "1.4.3+opusim"
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"opusim run: lightonml 1.4.3 is installed, but it cannot be imported here ({reason}")


def test_other_site_customisation_goes_on(go, other_lightonml):
    (other_lightonml / "sitecustomize.py").write_text("import sys\nsys.customised = True\n")
    source = "import sys, sitecustomize, lightonml; print(sys.customised, sitecustomize.__file__, lightonml.VERSION)"
    shown = assert_clean(go(source, PYTHONPATH=str(other_lightonml)))
    assert shown == f"True {other_lightonml / 'sitecustomize.py'} installed"


def test_run_within_run_asks_again(go, folder, other_lightonml):
    (folder / "inner.py").write_text("import lightonml; print(lightonml.__version__)")
    source = f"""
        import os, subprocess, sys
        subprocess.run([*{HERE_ALONE!r}, "inner.py"], check=True)
        path = os.environ["PYTHONPATH"].split(os.pathsep)
        print(len(path), [entry.rpartition(os.sep)[2] for entry in path])
    """
    assert assert_clean(go(source)).splitlines() == ["1.4.3+opusim", "3 ['lightonopu', 'lightonml', 'ALP4lib']"]


# ---------------------------------------------------------------- install(), in a notebook's first cell


def install_in(run: Callable[..., Outcome], folder: Path, source: str, **environment: str) -> Outcome:
    home = {"XDG_CONFIG_HOME": str(folder.parent / "config")}
    return run(sys.executable, "-c", dedent(source), folder=folder, **{**home, **environment})


def test_install_makes_both_names_importable(run, folder):
    source = """
        import opusim.drivers
        used = opusim.drivers.install()
        assert opusim.drivers.install() == used
        import lightonml, lightonopu, sys
        from importlib import metadata
        print(used.lightonml, lightonml.__version__, metadata.version("lightonopu"))
        assert opusim.drivers.install() == used and len(set(sys.path)) == len(sys.path)
        print([entry for entry in sys.path[:2] if "drivers" not in entry])
    """
    done = install_in(run, folder, source)
    assert assert_clean(done).splitlines() == ["opusim 1.4.3+opusim 1.4.3+opusim", "[]"]
    assert done.stderr == ""


def test_install_is_told_to_pkg_resources(run, folder, tmp_path):
    """A list of distributions that was read before is brought up to date."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pkg_resources.py").write_text(
        dedent(
            """
            class WorkingSet:
                entries = []
                def add_entry(self, entry):
                    self.entries.append(entry)
            working_set = WorkingSet()
            """
        )
    )
    source = """
        import pkg_resources
        import opusim.drivers
        opusim.drivers.install()
        opusim.drivers.install()
        print(sorted(entry.rpartition("/")[2] for entry in pkg_resources.working_set.entries))
    """
    done = install_in(run, folder, source, PYTHONPATH=str(tmp_path / "site"))
    assert assert_clean(done) == "['ALP4lib', 'lightonml', 'lightonopu']"


@pytest.mark.parametrize("when", ["before", "after"])
def test_install_shows_an_installed_lightonml_the_device(run, folder, other_lightonml, when):
    source = f"""
        import opusim.drivers
        if {when!r} == "before":
            import lightonml
        used = opusim.drivers.install()
        import lightonml, lightonopu
        print(used.lightonml, lightonml.VERSION, lightonopu.__version__, lightonml.internal.config.read() is not None)
    """
    done = install_in(run, folder, source, PYTHONPATH=str(other_lightonml))
    assert assert_clean(done) == "installed installed 1.4.3+opusim True"


def test_install_takes_ours_on_request(run, folder, other_lightonml):
    source = """
        import opusim.drivers
        print(opusim.drivers.install(lightonml=True).lightonml)
        import lightonml
        print(lightonml.__version__)
    """
    done = install_in(run, folder, source, PYTHONPATH=str(other_lightonml))
    assert assert_clean(done).splitlines() == ["opusim", "1.4.3+opusim"]


def test_install_warns_once_of_a_broken_lightonml(run, folder, tmp_path):
    package = tmp_path / "site" / "lightonml"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import lightonml.part\nimport a_module_that_is_gone\n")
    (package / "part.py").write_text("")
    source = """
        import warnings
        import opusim.drivers
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            opusim.drivers.install()
            opusim.drivers.install()
        import lightonml
        print(lightonml.__version__, len(told), told[0].filename == "<string>", told[0].message)
    """
    text = assert_clean(install_in(run, folder, source, PYTHONPATH=str(tmp_path / "site")))
    assert text.startswith("1.4.3+opusim 1 True lightonml is installed, but it cannot be imported here (ModuleNot")


@pytest.mark.parametrize(
    ("first", "call", "message"),
    [
        ("import lightonopu", "install()", "lightonopu has been imported already, from .*lightonopu.py, and it is not"),
        (
            "import lightonml",
            "install(lightonml=True)",
            "lightonml has been imported already, from .*lightonml.py, and",
        ),
        ("d.install(); import lightonml", "install(lightonml=False)", "lightonml is False, but opusim's own"),
        ("", "install(lightonml='yes')", "lightonml is 'yes', but it must be True, False or None"),
    ],
)
def test_install_refuses_what_it_cannot_undo(run, folder, tmp_path, first, call, message):
    (tmp_path / "site").mkdir()
    if first.startswith("import"):
        (tmp_path / "site" / f"{first.split()[1]}.py").write_text("")
    source = (
        f"import opusim.drivers as d\n{first}\ntry:\n    d.{call}\nexcept (RuntimeError, TypeError) as e:\n    print(e)"
    )
    text = assert_clean(install_in(run, folder, source, PYTHONPATH=str(tmp_path / "site")))
    assert re.match(message, text), text


def test_install_without_a_lightonml_leaves_that_name_alone(run, folder):
    source = """
        import opusim.drivers
        opusim.drivers.install(lightonml=False)
        import importlib.util, lightonopu
        print(importlib.util.find_spec("lightonml"), lightonopu.__version__)
    """
    assert assert_clean(install_in(run, folder, source)) == "None 1.4.3+opusim"


# ---------------------------------------------------------------- parts


def test_environment_keeps_what_it_does_not_know():
    used = standin.StandIn((standin.LIGHTONOPU, standin.LIGHTONML), "opusim")
    given = {"PYTHONPATH": os.pathsep.join(["/a", standin.HOOK, "/b"]), "OTHER": "1", "OPUSIM_SEED": "3"}
    result = standin.environment_for(used, given)
    assert result["PYTHONPATH"].split(os.pathsep) == [standin.LIGHTONOPU, standin.LIGHTONML, "/a", "/b"]
    assert result["OTHER"] == "1" and result["OPUSIM_SEED"] == "3" and "OPUSIM_DEVICE" not in result
    installed = standin.environment_for(standin.StandIn((standin.LIGHTONOPU,), "installed"), {}, device="d", seed=0)
    assert installed["PYTHONPATH"].split(os.pathsep) == [standin.HOOK, standin.LIGHTONOPU]
    assert installed["OPUSIM_DEVICE"] == "d" and installed["OPUSIM_SEED"] == "0"


def test_folder_that_the_path_cannot_hold_is_refused():
    used = standin.StandIn((f"/a{os.pathsep}b",), "opusim")
    with pytest.raises(ValueError, match="Python's path cannot hold a folder"):
        standin.environment_for(used, {})


def test_unknown_interpreter_is_told(monkeypatch):
    monkeypatch.setattr(standin.sys, "executable", "")
    with pytest.raises(RuntimeError, match="does not know its own executable"):
        standin.start_program(["program.py"], {})


def test_install_is_a_name_of_the_drivers():
    assert opusim.drivers.install is standin.install and "install" in opusim.drivers.__all__


# ---------------------------------------------------------------- names that only programs of the time use


def test_small_functions_of_the_time(go):
    source = """
        import numpy as np
        from lightonml.internal import config, utils
        x = np.array([[1, 0, 1, 1, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0, 1]], dtype="uint8")
        assert utils.count_ones(x, 10) == 3 and utils.count_ones(np.packbits(x, axis=1), 10, packed=True) == 3
        assert utils.count_ones(x[0], 10) == 5 and utils.random_samples(x, 1).shape == (1, 9)
        assert utils.rev((1, 2)) == (2, 1) and utils.blank_fn(1, a=2) is None
        assert utils.recurse_update({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}
        np.random.seed(3)
        first = utils.random_bin((4, 50))
        np.random.seed(3)
        assert np.array_equal(utils.random_bin((4, 50)), first) and first.dtype == bool and 0 < first.mean() < 1
        rows, pattern = utils.alternate_full_sequence(40, 5, 255)
        assert rows.shape == (40, 5) and np.array_equal(rows[:, 0], 255 * pattern.astype(int))
        assert np.array_equal(utils.binarize_output(rows), pattern)
        left = [ValueError, KeyError]
        def fails_twice():
            if left:
                raise left.pop()
            return "done"
        assert utils.try_or_giveup(fails_twice, 3, False) == ("done", 2)
        try:
            utils.try_or_giveup(lambda: 1 / 0, 2, False)
        except ZeroDivisionError:
            pass
        settings = config.load_config()
        assert settings["type"] == "type2" and "aurora" in config.opu_version(settings)
        assert config.host_has_opu_config() and config.get_host_option("lightonml_open_at_init") is True
        assert config.get_config_from(config.get_host_option("opu_config"))["name"] == settings["name"]
        assert config.get_host_option("nothing", 7) == 7
    """
    assert_clean(go(source))


def test_verbose_level_is_one_for_all(go):
    source = """
        import numpy as np
        import lightonml
        from lightonml import OPU
        x = np.eye(30, dtype="uint8")
        opu = OPU(n_components=20)
        opu.fit_transform1d(x)
        assert lightonml.get_verbose_level() == 0 and lightonml.get_print_fn() is not print
        lightonml.set_verbose_level(1)
        assert lightonml.get_verbose_level() == 1 and lightonml.get_print_fn() is print
        opu.transform(x)
        opu.disable_pbar = True
        opu.transform(x)
    """
    done = go(source)
    assert_clean(done)
    # One bar, of the one transform that was to show it.
    assert "30/30" in done.stderr and done.stderr.count("  0%") == 1


def test_first_mapping_fits_at_each_call():
    rng = np.random.default_rng(0)
    mapping = OPURandomMapping(opu=OPU(n_components=7), n_components=50, disable_pbar=True)
    assert mapping.opu.n_components == 50 and mapping.opu.disable_pbar
    with pytest.raises(RuntimeError, match="no fit yet"):
        mapping.formatting_func(np.ones(10))
    assert mapping.fit_transform(rng.integers(0, 2, 80)).shape == (50,)
    assert mapping.fit_transform(rng.integers(0, 2, (4, 120)).astype(float)).shape == (4, 50)
    mapping.opu.close()


def test_first_mapping_shows_its_mirrors():
    mapping = OPURandomMapping(opu=OPU(n_components=7), n_components=20)
    x = np.zeros((3, 100), dtype=np.uint8)
    x[1], x[2, 41] = 1, 1
    mapping.fit(x)
    mirrors = mapping.formatting_func(x)
    assert mirrors.shape == (3, 912 * 1140) and mirrors.dtype == np.uint8
    # 100 features of 10 396 mirrors each fill the array but for 80 mirrors, which are off.
    assert [int(row.sum()) for row in mirrors] == [0, 100 * 10396, 10396]
    # Feature by feature along the axis of 912, each line of it along that of 1140: as columns of the picture.
    picture = mapping.formatting_func(x[2]).reshape(1140, 912)
    assert np.array_equal(np.flatnonzero(picture.T.ravel()), np.arange(41 * 10396, 42 * 10396))
    mapping.opu.close()
