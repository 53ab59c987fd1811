"""Trainable encoders: they learn, and give bits."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
models = pytest.importorskip("opusim.encoding.models")


def test_models_train_and_give_bits(capsys):
    generator = torch.Generator().manual_seed(0)
    X = (torch.rand(32, 8, generator=generator) > 0.5).float()
    for model in (models.EncoderDecoder(8, 12), models.LinearAE(8, 12, beta=1.0)):
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, X[:, 0]), batch_size=16)
        before = torch.nn.functional.mse_loss(model(X), X).item()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        trained = models.train(model, loader, optimizer, epochs=6, device="cpu", verbose=False)
        assert trained is model and torch.nn.functional.mse_loss(model(X), X).item() < before
        assert capsys.readouterr().out == ""
        code = model.eval()(X)
        assert code.dtype == torch.uint8 and code.shape == (32, 12) and code.max() <= 1
    # after the sixth epoch, epoch number 5, beta has grown once
    assert model.beta == 10
    assert torch.equal(code, (model.encoder(X) > 0).to(torch.uint8))


def test_the_tied_decoder_is_the_transpose():
    model = models.EncoderDecoder(5, 7)
    X = torch.linspace(-1, 1, 15).reshape(3, 5)
    code = (X @ model.proj.weight.t() > 0).float()
    assert torch.allclose(model(X), code @ model.proj.weight)


def test_convolutions(capsys):
    model = models.ConvAE(3, 4, 3, 2.0, padding=1, flatten=True)
    X = torch.linspace(0, 1, 2 * 3 * 6 * 5).reshape(2, 3, 6, 5)
    assert model(X).shape == X.shape
    models.train(model.eval(), [X], torch.optim.SGD(model.parameters(), lr=0.1), epochs=2, device="cpu")
    assert model.training and capsys.readouterr().out.count("Training Loss") == 2
    assert model.eval()(X).shape == (2, 4 * 6 * 5)
    model.flatten = False
    assert model(X).shape == (2, 4, 6, 5) and model(X).dtype == torch.uint8


def test_nan_has_no_code():
    X = torch.ones(2, 5)
    X[1, 2] = float("nan")
    for model in (models.EncoderDecoder(5, 7), models.LinearAE(5, 7)):
        with pytest.raises(ValueError, match="input gives NaN"):
            model.eval()(X)
