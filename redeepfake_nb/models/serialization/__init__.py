"""Read model files from untrusted sources into Keras 3 models, without running code in them.

A file passes through these modules in order; each refuses what it does not know with a typed error:

1. :mod:`.archive` recognises the format by its first bytes, and reads the configuration as plain JSON;
   :mod:`.other_formats` names what is no Keras model, and what to do with it;
   :mod:`.hdf5` inspects an HDF5 file, or the one inside a ``.keras`` archive, before an array is read.
2. :mod:`.keras2_graph` rewrites a Keras 2 configuration as a Keras 3 one (:mod:`.keras2_layers`,
   :mod:`.keras2_operations`). A Keras 3 file skips this step; in an ``.h5`` file of Keras 3,
   :mod:`.keras3_hdf5` restores what Keras leaves out.
3. :mod:`.allowlist` checks that the configuration names only Keras classes and functions that compute.
4. :mod:`.build` builds the graph, and checks its size before memory is allocated.
5. :mod:`.weights` assigns the arrays of the file to the weights, all of them or none.
"""
