"""Programs that train a PyTorch network with projected errors; each is a module to import and a command to run.

`opusim.dfa.examples.gcn`
    A graph-convolutional network on a citation graph: Cora, CiteSeer or PubMed.
`opusim.dfa.examples.transformer`
    A small Transformer that predicts the next character of Shakespeare's plays.

    python -m opusim.dfa.examples.gcn --dataset cora --feedback gaussian
"""
