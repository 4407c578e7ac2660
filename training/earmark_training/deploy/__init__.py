"""From a trained model to the device: bundle, compiler, estimates, simulation."""
