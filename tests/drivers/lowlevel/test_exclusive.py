"""One process at a time has an exclusive device, whatever its environment and whatever is deleted."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

import pytest

from opusim.base.errors import OpuAlreadyUsedException
from opusim.drivers import OpuDevice
from opusim.drivers.lowlevel import exclusive
from opusim.drivers.lowlevel.exclusive import ExclusiveUse

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork")


@pytest.fixture(params=["kernel", "file"], autouse=True)
def place(request, monkeypatch, tmp_path):
    """Both ways in which a device is held; the second is that of systems without the first."""
    monkeypatch.setattr(exclusive, "_MACHINE", tmp_path)
    if request.param == "kernel":
        if sys.platform != "linux":
            pytest.skip("this system has no such names")
        return None
    monkeypatch.setattr(sys, "platform", "other")
    return tmp_path / f"opusim-{os.getuid()}"


def in_child(work):
    """Return what `work` returns in a forked child: True, False, or None for an error."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = int(work())
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {0: False, 1: True}.get(code)


def can_be_had(name):
    try:
        ExclusiveUse(name).release()
    except OpuAlreadyUsedException:
        return False
    return True


NAMES = ["zeus-exclusive", "../../../../evil", "a/b", "a\0b", "x" * 300, "\ud800", "", "grün"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_held_once(name, place, tmp_path):
    use = ExclusiveUse(name)
    assert in_child(lambda: can_be_had(name)) is False
    assert in_child(lambda: can_be_had("another")) is True
    use.release()
    assert in_child(lambda: can_be_had(name)) is True
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} <= {place}


def test_several_of_one_process_and_the_last_frees_it():
    first, second = ExclusiveUse("hera-of-several"), ExclusiveUse("hera-of-several")
    first.release()
    first.release()  # once is enough
    assert in_child(lambda: can_be_had("hera-of-several")) is False
    second.release()
    assert in_child(lambda: can_be_had("hera-of-several")) is True


def test_a_forked_child_holds_nothing_and_frees_nothing():
    use = ExclusiveUse("ares-of-forks")
    assert in_child(lambda: use.is_ours) is False
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:  # lives on with all that it has inherited
        use.release()
        os.write(ready[1], b".")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    assert in_child(lambda: can_be_had("ares-of-forks")) is False
    use.release()
    try:
        assert in_child(lambda: can_be_had("ares-of-forks")) is True
    finally:
        os.write(go[1], b".")
        os.waitpid(pid, 0)
        for end in (*ready, *go):
            os.close(end)


def test_deleting_what_can_be_deleted_lets_no_second_one_in(place):
    """A file can be deleted, a name in the kernel cannot."""
    use = ExclusiveUse("leto-of-files")
    if place is not None:
        (path,) = place.iterdir()
        path.unlink()
        path.touch()
        found = []
        original = exclusive._LockedFile._has_name

        def replaced(descriptor, path):
            """Let somebody delete the file between its opening and its locking, once."""
            if not found:
                found.append(path.unlink())
            return original(descriptor, path)

        exclusive._LockedFile._has_name = staticmethod(replaced)
        try:
            again = exclusive._LockedFile.at(path)
        finally:
            exclusive._LockedFile._has_name = staticmethod(original)
        assert found and again._has_name(again._descriptor, path)
        again.close()
    else:
        assert in_child(lambda: can_be_had("leto-of-files")) is False
    use.release()


def test_a_folder_that_others_may_enter_is_refused(place):
    if place is None:
        pytest.skip("no folder there")
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    with pytest.raises(
        OSError, match=r"exclusive device 'zeus' cannot be kept in .*must be a folder of this user's own"
    ):
        ExclusiveUse("zeus")
    place.rmdir()
    place.symlink_to(place.parent)
    with pytest.raises(OSError, match="must be a folder of this user's own"):
        ExclusiveUse("zeus")


def test_where_the_kernel_has_no_such_names_a_file_is_locked(monkeypatch, tmp_path, place):
    if place is not None:
        pytest.skip("it is so here")

    class Refusing(socket.socket):
        def bind(self, address):
            raise OSError(errno.EINVAL, "no such names")

    monkeypatch.setattr(socket, "socket", Refusing)
    use = ExclusiveUse("zeus")
    assert len([path for path in tmp_path.rglob("*.lock")]) == 1
    use.release()


HOLDER = """
import sys
from opusim.drivers import OpuDevice
device = OpuDevice(name="everywhere", exclusive=True)
device.open()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.system
def test_no_variable_moves_it(place, root, tmp_path):
    """Another configuration folder, runtime folder or folder of temporary files lets no second one in."""
    if place is not None:
        pytest.skip("processes of their own have the other way")
    there = {name: str(tmp_path / name) for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "TMPDIR", "HOME")}
    for folder in there.values():
        os.mkdir(folder)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **there, "PYTHONPATH": str(root)},
    ) as holder:  # fmt: skip
        assert holder.stdout.readline() == "open\n"
        device = OpuDevice(name="everywhere", exclusive=True)
        with pytest.raises(OpuAlreadyUsedException, match="in use by another process"):
            device.open()
        holder.kill()
    device.open()  # nothing stale is left by a process that was killed
    device.close()
