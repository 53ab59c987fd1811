"""The map for PyTorch: tensors in and out, where the gradient stops, loaders, copies."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import numpy as np
import pytest

from opusim.device.record import Device
from opusim.drivers import OPU, NotReadyError, OpuDevice
from opusim.encoding import BinaryThresholdEncoder

torch = pytest.importorskip("torch")

from opusim.drivers.projections.torch import LightonOPUMap, OPUMap  # noqa: E402


def bits(*shape, seed=0):
    return (np.random.default_rng(seed).random(shape) < 0.5).astype(np.uint8)


def tensor(*shape, seed=0):
    return torch.from_numpy(bits(*shape, seed=seed))


# ---------------------------------------------------------------- tensors


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "bfloat16"])
def test_counts_are_those_of_an_opu_of_the_same_seed(dtype):
    x = tensor(7, 60).to(getattr(torch, dtype))
    y = OPUMap(100, device="ideal", seed=3).fit(x)(x)
    expected = OPU(100, device="ideal", seed=3).fit_transform1d(bits(7, 60))
    assert isinstance(y, torch.Tensor) and y.device == x.device
    assert np.array_equal(y.numpy(), expected)
    assert OPUMap(100).fit(x)(x).dtype == torch.uint8


def test_arrays_and_single_vectors():
    mapping = OPUMap(100, device="ideal").fit(n_features=60)
    y = mapping(tensor(6, 60))
    assert torch.equal(mapping(bits(6, 60)), y)
    assert torch.equal(mapping(tensor(6, 60)[2]), y[2])
    assert torch.equal(mapping(tensor(6, 60).reshape(2, 3, 60)), y.reshape(2, 3, 100))
    assert torch.equal(mapping(tensor(60, 6).T), mapping(tensor(60, 6).T.contiguous()))


def test_two_dimensions_and_packed():
    pictures = tensor(6, 8, 10)
    y = OPUMap(100, ndims=2, device="ideal").fit(pictures)(pictures)
    packed = torch.from_numpy(np.packbits(pictures.numpy().reshape(6, 80), axis=1))
    mapping = OPUMap(100, None, 2, (8, 10), True, device="ideal").fit(packed)
    assert y.shape == (6, 100) and torch.equal(mapping(packed), y)
    mapping.fit(packed, online=True)
    assert torch.equal(mapping(packed), y) and torch.equal(mapping(packed[1]), y[1])


def test_forward_without_fit_warns_and_fits():
    mapping = OPUMap(100, device="ideal")
    with pytest.warns(UserWarning, match="was not fitted") as caught:
        y = mapping(tensor(5, 60))
    assert caught[0].filename == __file__
    assert mapping.fitted and torch.equal(mapping(tensor(5, 60)), y)


def test_online():
    x = tensor(6, 60)
    mapping = OPUMap(100, device="ideal").fit(x)
    y = mapping(x)
    mapping.fit(n_features=60, online=True)
    single = mapping(x[1])
    assert mapping.online and single.shape == (100,)
    sent = mapping(x.reshape(2, 3, 60))
    assert torch.equal(sent.reshape(6, 100)[1], single) and sent.shape == (2, 3, 100)
    with pytest.raises(NotReadyError, match="only single vectors"):
        mapping.opu.transform(x)
    assert torch.equal(mapping.fit(x)(x), y)


def test_linear_map():
    mapping = OPUMap(200, linear=True, device="ideal").fit(n_features=60)
    x = torch.zeros(3, 60, dtype=torch.uint8)
    x[0, :30], x[1, 30:], x[2] = 1, 1, 1
    a, b, both = mapping(x)
    assert both.dtype == torch.float32 and both.std() > 0.1
    assert torch.linalg.norm(a + b - both) < 1e-3 * torch.linalg.norm(both)


def test_encoder():
    x = torch.randn(6, 60, generator=torch.Generator().manual_seed(0))
    mapping = OPUMap(100, device="ideal", encoder=BinaryThresholdEncoder(0.25)).fit(x)
    y = mapping(x)
    assert torch.equal(y, OPUMap(100, device="ideal").fit(x > 0.25)(x > 0.25))
    assert torch.equal(mapping.fit(x, online=True)(x), mapping.fit(x)(x))


def test_warnings_are_as_of_a_fit_on_the_opu():
    with pytest.warns(UserWarning, match="holds only zeros"):
        OPUMap(100).fit(torch.zeros(3, 60))


# ---------------------------------------------------------------- the gradient


def test_the_gradient_stops():
    x = tensor(6, 60).float().requires_grad_()
    scale = torch.ones(60, requires_grad=True)
    for linear in (False, True):
        y = OPUMap(100, linear=linear).fit(x)(x * scale)
        assert not y.requires_grad and y.grad_fn is None
        readout = torch.nn.Linear(100, 3)
        readout(y.float()).sum().backward()
        assert readout.weight.grad is not None and readout.weight.grad.abs().sum() > 0
    assert x.grad is None and scale.grad is None


def test_the_gradient_stops_at_encoders_and_decoders_too():
    class Scale(torch.nn.Linear):
        def transform(self, y):
            return self(torch.as_tensor(y).float())

    x = torch.randn(6, 60, requires_grad=True)
    mapping = OPUMap(100, encoder=BinaryThresholdEncoder(0.0), decoder=Scale(100, 3))
    for online in (False, True):
        y = mapping.fit(x, online=online)(x)
        assert y.shape == (6, 3) and not y.requires_grad and y.grad_fn is None


def test_inside_a_network_that_learns():
    x, seed = tensor(200, 40), torch.manual_seed(0)
    label = (x[:, :20].sum(1) > x[:, 20:].sum(1)).float()
    assert seed is not None
    mapping = OPUMap(300)
    mapping.fit(x)
    features = torch.nn.Sequential(mapping)(x).float()
    features = (features - features.mean(0)) / (features.std(0) + 1)
    readout = torch.nn.Linear(300, 1)
    optimiser = torch.optim.Adam(readout.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(readout(features)[:, 0], label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert list(mapping.parameters()) == []


# ---------------------------------------------------------------- loaders


class Projected(torch.utils.data.Dataset):
    """Vectors projected where they are read."""

    def __init__(self, mapping, x):
        self.mapping, self.x = mapping, x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.mapping(self.x[i])


def test_in_a_loop_over_a_loader():
    x = tensor(20, 60)
    mapping = OPUMap(100, device="ideal").fit(x)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=8)
    parts = [mapping(batch) for (batch,) in loader]
    assert [len(part) for part in parts] == [8, 8, 4]
    assert torch.equal(torch.cat(parts), mapping(x))


def test_in_the_workers_of_a_loader():
    x = tensor(20, 60)
    mapping = OPUMap(100, device="ideal").fit(x)
    expected = mapping(x)  # the parent has used its threads before it forks
    loader = torch.utils.data.DataLoader(
        Projected(mapping, x), batch_size=8, num_workers=2, multiprocessing_context="fork", timeout=120
    )
    assert torch.allclose(torch.cat(list(loader)), expected, rtol=1e-5)


@pytest.mark.slow
def test_in_spawned_workers():
    """The map itself makes the batches, so that the new process needs no class of this file."""
    x = tensor(8, 60)
    mapping = OPUMap(100, device="ideal").fit(x)
    loader = torch.utils.data.DataLoader(
        list(x.numpy()), batch_size=4, num_workers=1, multiprocessing_context="spawn", timeout=300, collate_fn=mapping
    )
    assert torch.allclose(torch.cat(list(loader)), mapping(x), rtol=1e-5)


# ---------------------------------------------------------------- one device, several maps


def test_maps_of_different_width_share_an_opu():
    opu = OPU(50, device="ideal")
    x, z = tensor(6, 60), tensor(4, 90, seed=1)
    narrow, wide = OPUMap(100, opu=opu), OPUMap(300, opu=opu)
    narrow.fit(x), wide.fit(z)
    assert narrow.opu is opu and wide.opu is opu
    for _ in range(2):
        assert np.array_equal(narrow(x), OPU(100, device="ideal").fit_transform1d(x.numpy()))
        assert np.array_equal(wide(z), OPU(300, device="ideal").fit_transform1d(z.numpy()))


def test_width_after_fit_and_open_close():
    x = tensor(6, 60)
    mapping = OPUMap(100).fit(x)
    mapping.n_components = 150
    assert mapping(x).shape == (6, 150) and mapping.opu.n_components == 150
    with mapping as same:
        assert same is mapping
    with pytest.raises(NotReadyError, match="isn't active"):
        mapping(x)
    mapping.open()
    assert mapping(x).shape == (6, 150)
    mapping.close()


# ---------------------------------------------------------------- a module as others


def test_copies():
    x = tensor(6, 60)
    mapping = OPUMap(100, device="ideal")
    assert not copy.deepcopy(mapping).fitted and not pickle.loads(pickle.dumps(mapping)).fitted
    y = mapping.fit(x)(x)
    other = copy.deepcopy(mapping)
    assert other.opu.device is mapping.opu.device and torch.equal(other(x), y)
    stored = io.BytesIO()
    torch.save(torch.nn.Sequential(mapping, torch.nn.ReLU()), stored)
    stored.seek(0)
    again = torch.load(stored, weights_only=False)
    assert torch.equal(again(x), y) and again[0].opu.device is again[0].opu_.device


def test_state_and_modes():
    x = tensor(6, 60)
    mapping = OPUMap(100, device="ideal").fit(x)
    network = torch.nn.Sequential(mapping, torch.nn.Linear(100, 2))
    assert set(network.state_dict()) == {"0._extra_state", "1.weight", "1.bias"}
    fresh = torch.nn.Sequential(OPUMap(100, device="ideal").fit(x), torch.nn.Linear(100, 2))
    fresh.load_state_dict(network.state_dict())
    y = network(x.float())
    assert torch.equal(fresh.eval()(x.float()), y)
    assert torch.equal(network.to("cpu").double().float().train()(x.float()), y)
    assert "n_components=100" in repr(network) and "not fitted" in repr(OPUMap(100))


@pytest.fixture
def compiled():
    """Compile without a graph break, by a backend that needs no compiler of C++."""
    torch._dynamo.reset()
    yield lambda function, **options: torch.compile(function, **{"backend": "aot_eager", "fullgraph": True, **options})
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_inside_a_compiled_network(compiled, backend):
    x = tensor(6, 60)
    mapping = OPUMap(100, device="ideal").fit(x)
    network = compiled(torch.nn.Sequential(mapping, torch.nn.ReLU()), backend=backend)
    assert torch.equal(network(x), mapping(x)) and torch.equal(network(x[2]), mapping(x[2]))
    mapping.n_components = 70  # what was compiled for 100 is compiled again
    assert torch.equal(network(x), mapping(x)) and network(x).shape == (6, 70)


def test_a_compiled_map_takes_a_state_and_fits_itself(compiled):
    x = tensor(6, 60)
    mapping = OPUMap(100)
    network = compiled(mapping)
    with pytest.warns(UserWarning, match="was not fitted"):
        assert network(x).shape == (6, 100)
    ten_bits = OPUMap(100, device=Device.load("aurora").evolve(**{"camera.bits": 10}), seed=3).fit(x)
    mapping.load_state_dict(ten_bits.state_dict())
    expected = ten_bits(x)
    assert expected.dtype == torch.uint16 and torch.equal(network(x), expected)


def test_two_calls_of_a_compiled_graph_are_two_exposures(compiled):
    """Of one input, one after the other: not one that is used twice, nor one that is done again for the gradient."""
    x = tensor(6, 60).float().requires_grad_()
    mapping = OPUMap(100).fit(tensor(6, 60))
    scale = torch.nn.Parameter(torch.ones(100))
    first, second, loss = compiled(lambda x: (a := mapping(x), b := mapping(x), (a.float() * b * scale).sum()))(x)
    loss.backward()
    assert mapping.opu.bench.clock.frames == 12 and not torch.equal(first, second)
    assert x.grad is None and torch.equal(scale.grad, (first.float() * second).sum(0))


def test_copies_of_a_compiled_map_have_numbers_of_their_own(compiled):
    x = tensor(6, 60)
    mapping = OPUMap(100, device="ideal").fit(x)
    other = pickle.loads(pickle.dumps(mapping))
    other.seed = 5
    other.fit(x)
    assert torch.equal(compiled(mapping)(x), mapping(x)) and torch.equal(compiled(other)(x), other(x))
    assert not torch.equal(mapping(x), other(x)) and len({m._number for m in (mapping, other)}) == 2


def test_a_compiled_map_with_an_encoder_breaks_the_graph_and_says_why(compiled):
    x = torch.randn(6, 60, generator=torch.Generator().manual_seed(0))
    mapping = OPUMap(100, device="ideal", encoder=BinaryThresholdEncoder(0.25)).fit(x)
    assert torch.equal(compiled(mapping, fullgraph=False)(x), mapping(x))
    torch._dynamo.reset()
    with pytest.raises(
        torch._dynamo.exc.Unsupported, match="An OPUMap with an encoder or a decoder.*leave out fullgraph"
    ):
        compiled(torch.nn.Sequential(mapping))(x)


def test_the_result_goes_to_the_device_of_the_input():
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    x = tensor(6, 60).cuda()
    for online in (False, True):
        assert OPUMap(100).fit(x, online=online)(x).device == x.device


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"ndims": 3}, ValueError, "ndims is 3, but it must be 1 or 2"),
        ({"opu": "aurora"}, TypeError, "must be an opusim.drivers.OPU"),
        ({"n_components": 0}, ValueError, "n_components is 0"),
        ({"encoder": 3}, TypeError, "encoder is 3.*transform"),
    ],
)
def test_bad_parameters(arguments, error, match):
    with pytest.raises(error, match=match):
        OPUMap(**{"n_components": 100, **arguments}).fit(tensor(5, 60))


def test_bad_input():
    mapping = OPUMap(100).fit(tensor(5, 60))
    for x, match in ((tensor(5, 50), "60 features"), (tensor(5, 60) * 2, "only 0 and 1"), (tensor(0, 60), "at least")):
        with pytest.raises(ValueError, match=match):
            mapping(x)
    online = OPUMap(100).fit(tensor(5, 60), online=True)
    with pytest.raises(ValueError, match="at least one vector"):
        online(tensor(0, 60))
    assert mapping(tensor(5, 60)).shape == (5, 100)


# ---------------------------------------------------------------- under lightonml's names


def test_lightonml_names():
    x = tensor(6, 60)
    mapping = LightonOPUMap(100)
    assert mapping.opu.n_components == 100 and isinstance(mapping.opu.device, OpuDevice)
    mapping.reset_parameters(x, None, None, False, False)
    assert mapping.fitted and mapping(x).dtype == torch.uint8
    mapping.n_components = 70
    assert mapping.opu.n_components == 70 and mapping(x).shape == (6, 70)
    assert copy.deepcopy(mapping)(x).shape == (6, 70)
    opu = OPU(10)
    assert LightonOPUMap(80, opu).opu is opu and opu.n_components == 80


def test_lightonml_simulator():
    x = torch.randn(6, 60, generator=torch.Generator().manual_seed(0))
    mapping = LightonOPUMap(100, simulated=True, max_n_features=60).fit(x)
    y = mapping(x)
    assert y.dtype == torch.float32
    assert np.allclose(y, np.abs(x.numpy() @ mapping.opu.device.random_matrix) ** 2, rtol=1e-4)
    with pytest.raises(ValueError, match="max_n_features is None"):
        LightonOPUMap(100, simulated=True)
    with pytest.warns(UserWarning, match="simulated is False"):
        LightonOPUMap(100, opu=mapping.opu)


def test_no_warning_in_ordinary_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = tensor(6, 60)
        assert OPUMap(100).fit(x)(x).shape == (6, 100)
