"""The module of ALP4lib 1.1.0 with a simulated board in place of the maker's library: names, calls, errors.

What each call does is said at `opusim.adapters.alp4`. Pictures that a program shows are seen by
`opusim.adapters.alp4.AlpCamera`.
"""

# The names, arguments and attributes are those of ALP4lib, and programs take all of them with `from ALP4 import *`.
# ruff: noqa: N802, N803, N806, F405, RUF067

from __future__ import annotations

import ctypes as ct
import platform  # noqa: F401 - part of `from ALP4 import *`, as ctypes and numpy are
from typing import Any

import numpy as np

from opusim.drivers.compat.alp4.constants import *  # noqa: F403
from opusim.drivers.compat.alp4.library import Library
from opusim.drivers.compat.alp4.table import table as _table

__version__ = "1.1.0+opusim"
__opusim__ = True

# What ALP4lib names its library's file by.
_VERSIONS = ("4.1", "4.2", "4.3", "4.4", "5.0", "5.1")


def MAKELONG(StartRow: int, RowCount: int) -> int:
    """Return two numbers of 16 bits as one: the first in the lower half."""
    return StartRow + (RowCount << 16)


class ALPError(Exception):
    """A call of the library that failed.

    Parameters
    ----------
    error_code : int
        What it returned: a key of ALP_ERRORS.
    """

    def __init__(self, error_code: int) -> None:
        super().__init__(ALP_ERRORS[error_code])


def afficheur(bitPlane: Any) -> np.ndarray:
    """Return the picture of packed bits, for 2560 x 1600 mirrors."""
    packed = np.asarray(bitPlane, dtype=np.uint8)[: 1600 * 320].reshape(1600, 320)
    return np.unpackbits(packed, axis=1).astype(np.float64)


def img_to_bitplane(imgArray: Any) -> list[int]:
    """Return a binary picture packed, the first pixel in the highest bit."""
    result: list[int] = np.packbits(imgArray).tolist()
    return result


class ALP4:
    """A board with micromirrors.

    Parameters
    ----------
    version : str
        Of the library: "4.1" to "4.4", "5.0" or "5.1". All of them are the same here.
    libDir : str, optional
        Where the library lies: of no effect.
    """

    def __init__(self, version: str = "4.3", libDir: str | None = None) -> None:
        if version not in _VERSIONS:
            raise ValueError("Version not supported.")
        self._ALPLib: Any = Library(_table().board)
        print(f"Loading library: opusim's simulated board in place of ALP-{version}")
        self.ALP_ID = ct.c_ulong(0)
        self.DMDType = ct.c_long(0)
        self._lastDDRseq: Any = None
        self.Seqs: list[Any] = []

    def _checkError(self, returnValue: int, errorString: str, warning: bool = False) -> None:
        if returnValue == ALP_OK:
            return
        if not warning:
            raise ALPError(returnValue)
        print(f"{errorString}\n{ALP_ERRORS[returnValue]}")

    def _asked(self, call: Any, *arguments: Any) -> int:
        answer = ct.c_long(0)
        self._checkError(call(self.ALP_ID, *arguments, ct.byref(answer)), "Error sending request.")
        return answer.value

    def _of(self, SequenceId: Any) -> Any:
        return self._lastDDRseq if SequenceId is None and self._lastDDRseq else SequenceId

    def Initialize(self, DeviceNum: Any = None) -> None:
        """Take the board: the first one, or that of a serial number."""
        number = ct.c_long(ALP_DEFAULT) if DeviceNum is None else DeviceNum
        self._checkError(self._ALPLib.AlpDevAlloc(number, ALP_DEFAULT, ct.byref(self.ALP_ID)), "Cannot open DMD.")
        self.DMDType.value = self._asked(self._ALPLib.AlpDevInquire, ALP_DEV_DMDTYPE)
        self.nSizeX = self._asked(self._ALPLib.AlpDevInquire, ALP_DEV_DISPLAY_WIDTH)
        self.nSizeY = self._asked(self._ALPLib.AlpDevInquire, ALP_DEV_DISPLAY_HEIGHT)
        print(f"DMD found, resolution = {self.nSizeX} x {self.nSizeY}.")

    def SeqAlloc(self, nbImg: int = 1, bitDepth: int = 1) -> Any:
        """Take memory for pictures; return the identifier of the sequence, which is that of calls without one."""
        SequenceId = ct.c_long(0)
        self.Seqs.append(SequenceId)
        answer = self._ALPLib.AlpSeqAlloc(self.ALP_ID, ct.c_long(bitDepth), ct.c_long(nbImg), ct.byref(SequenceId))
        self._checkError(answer, "Cannot allocate image sequence.")
        self._lastDDRseq = SequenceId
        return SequenceId

    def _data(self, imgData: Any, dataFormat: str) -> Any:
        """Return the pointer to pictures; the library is told their size where it can be known."""
        if dataFormat not in ("Python", "C"):
            raise ValueError('dataFormat must be one of "Python" or "C"')
        if dataFormat == "Python":
            # A list has no such method, here as there.
            pixels = np.ascontiguousarray(imgData.astype(np.uint8, copy=False))
            self._ALPLib.uploaded = pixels
            return pixels.ctypes.data_as(ct.c_void_p)
        if isinstance(imgData, ct.Array):
            self._ALPLib.uploaded = np.frombuffer(memoryview(imgData), dtype=np.uint8)
        elif isinstance(imgData, bytes):
            self._ALPLib.uploaded = np.frombuffer(imgData, dtype=np.uint8)
        return ct.cast(imgData, ct.c_void_p)

    def SeqPutEx(
        self, imgData: Any, LineOffset: int, LineLoad: int, SequenceId: Any = None, PicOffset: int = 0,
        PicLoad: int = 0, dataFormat: str = "Python",
    ) -> None:  # fmt: skip
        """Write some lines of pictures; LineLoad 0 stands for all from LineOffset on."""
        if not SequenceId:
            SequenceId = self._lastDDRseq
        lines = tAlpLinePut(ALP_PUT_LINES, int(PicOffset), int(PicLoad), int(LineOffset), int(LineLoad))
        pointer = self._data(imgData, dataFormat)
        answer = self._ALPLib.AlpSeqPutEx(self.ALP_ID, SequenceId, ct.byref(lines), pointer)
        self._checkError(answer, "Cannot send image sequence to device.")

    def SeqPut(
        self, imgData: Any, SequenceId: Any = None, PicOffset: int = 0, PicLoad: int = 0, dataFormat: str = "Python"
    ) -> None:
        """Write pictures; PicLoad 0 stands for all from PicOffset on."""
        if not SequenceId:
            SequenceId = self._lastDDRseq
        pointer = self._data(imgData, dataFormat)
        answer = self._ALPLib.AlpSeqPut(self.ALP_ID, SequenceId, ct.c_long(PicOffset), ct.c_long(PicLoad), pointer)
        self._checkError(answer, "Cannot send image sequence to device.")

    def ImgToBitPlane(self, imgArray: Any, bitShift: int = 0) -> Any:
        """Raise a TypeError, as in ALP4lib 1.1.0: it hands `img_to_bitplane` an argument too many."""
        return img_to_bitplane(imgArray, bitShift)  # type: ignore[call-arg]

    def SetTiming(
        self, SequenceId: Any = None, illuminationTime: int | None = None, pictureTime: int | None = None,
        synchDelay: int | None = None, synchPulseWidth: int | None = None, triggerInDelay: int | None = None,
    ) -> None:  # fmt: skip
        """Set the times of a sequence in microseconds; what is not given has its default."""
        SequenceId = self._of(SequenceId)
        if SequenceId is None:
            raise ValueError("No sequence to display.")
        times = (illuminationTime, pictureTime, synchDelay, synchPulseWidth, triggerInDelay)
        given = [ct.c_long(ALP_DEFAULT if time is None else time) for time in times]
        self._checkError(self._ALPLib.AlpSeqTiming(self.ALP_ID, SequenceId, *given), "Cannot set timing.")

    def DevInquire(self, inquireType: Any) -> int:
        """Return something of the board."""
        return self._asked(self._ALPLib.AlpDevInquire, inquireType)

    def SeqInquire(self, inquireType: Any, SequenceId: Any = None) -> int:
        """Return something of a sequence."""
        return self._asked(self._ALPLib.AlpSeqInquire, self._of(SequenceId), inquireType)

    def ProjInquire(self, inquireType: Any, SequenceId: Any = None) -> int:
        """Raise an ALPError, as ALP4lib 1.1.0 does: it asks the library wrongly. ProjInquireEx works."""
        return self._asked(self._ALPLib.AlpProjInquire, self._of(SequenceId), inquireType)

    def ProjInquireEx(self, inquireType: Any) -> Any:
        """Return something of the projection: a whole number in the lower bytes of a c_double, as in ALP4lib 1.1.0."""
        UserStructPtr = ct.c_double(0)
        answer = self._ALPLib.AlpProjInquire(self.ALP_ID, inquireType, ct.byref(UserStructPtr))
        self._checkError(answer, "Error sending request.")
        return UserStructPtr

    def DevControl(self, controlType: Any, value: Any) -> None:
        """Set something of the board."""
        answer = self._ALPLib.AlpDevControl(self.ALP_ID, controlType, ct.c_long(value))
        self._checkError(answer, "Error sending request.")

    def DevControlEx(self, controlType: Any, userStruct: Any) -> None:
        """Set something of the board by a structure."""
        answer = self._ALPLib.AlpDevControlEx(self.ALP_ID, controlType, ct.byref(userStruct))
        self._checkError(answer, "Error sending request.")

    def ProjControl(self, controlType: Any, value: Any) -> None:
        """Set something of the projection, while nothing is shown."""
        answer = self._ALPLib.AlpProjControl(self.ALP_ID, controlType, ct.c_long(value))
        self._checkError(answer, "Error sending request.")

    def ProjControlEx(self, controlType: Any, pointerToStruct: Any) -> None:
        """Set something of the projection by a structure."""
        answer = self._ALPLib.AlpProjControlEx(self.ALP_ID, controlType, pointerToStruct)
        self._checkError(answer, "Error sending request.")

    def SeqControl(self, controlType: Any, value: Any, SequenceId: Any = None) -> None:
        """Set something of a sequence."""
        answer = self._ALPLib.AlpSeqControl(self.ALP_ID, self._of(SequenceId), controlType, ct.c_long(value))
        self._checkError(answer, "Error sending request.")

    def FreeSeq(self, SequenceId: Any = None) -> None:
        """Give the memory of a sequence back; an error of the library is printed."""
        SequenceId = self._of(SequenceId)
        self.Seqs.remove(SequenceId)
        answer = self._ALPLib.AlpSeqFree(self.ALP_ID, SequenceId)
        self._checkError(answer, "Unable to free the image sequence.", warning=True)

    def Run(self, SequenceId: Any = None, loop: bool = True) -> None:
        """Show a sequence, until it is stopped or as often as ALP_SEQ_REPEAT says."""
        SequenceId = self._of(SequenceId)
        if SequenceId is None:
            # There is no such method, here as there.
            self._raiseError("No sequence to display.")  # type: ignore[attr-defined]
        start = self._ALPLib.AlpProjStartCont if loop else self._ALPLib.AlpProjStart
        self._checkError(start(self.ALP_ID, SequenceId), "Cannot launch sequence.")

    def Wait(self) -> None:
        """Wait for the end of what is shown: at once, as time is simulated."""
        self._checkError(self._ALPLib.AlpProjWait(self.ALP_ID), "Cannot go in wait mode.")

    def Halt(self) -> None:
        """Stop what is shown."""
        self._checkError(self._ALPLib.AlpDevHalt(self.ALP_ID), "Cannot stop device.")

    def Free(self) -> None:
        """Give the board back."""
        self._checkError(self._ALPLib.AlpDevFree(self.ALP_ID), "Cannot free device.")
        del self._ALPLib
