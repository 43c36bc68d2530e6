"""
One step of backpropagation, number by number
=============================================

``trace_step`` runs one step of training on one row and returns all its numbers. The network is that
of "Backpropagation Step by Step": two inputs, two hidden units, one output, all linear, without
biases.
"""

# %%
# ``gpubp explain`` prints the same numbers.
from gpubp.explain import check_gradients, trace_step, trace_steps
from gpubp.explain.examples import example_by_name

example = example_by_name("step-by-step")
step = trace_step(example)
print("inputs:    ", step.layers[0].inputs)
print("hidden:    ", step.layers[0].A)
print("prediction:", step.prediction, "target:", step.target)
print(f"cost C:     {step.loss:.7f}")

# %%
# Backward: the delta of the output is prediction - target. Each hidden unit receives the delta of
# the output, multiplied by the weight between the two.
hidden, output = step.layers
print("delta of the output:", output.delta)
print("flows back:         ", output.blame[:, 0])
print("delta of the hidden:", hidden.delta)

# %%
# The gradient of a weight is the value below it times the delta above it. The new weight is
# ``w - rate * gradient``.
names = {"w1": (0, 0, 0), "w2": (0, 1, 0), "w3": (0, 0, 1), "w4": (0, 1, 1)}
names |= {"w5": (1, 0, 0), "w6": (1, 1, 0)}
for name, (layer, source, unit) in names.items():
    at, place = step.layers[layer], (source, unit)
    print(
        f"{name}: {at.W[place]:.2f} - {example.rate} * {at.dW[place]:9.6f} = {at.new_W[place]:.7f}"
    )

# %%
# Backpropagation agrees with central differences, and ten steps bring the prediction close to 1.
worst = max(abs(c.backprop - c.difference) for c in check_gradients(example))
print(f"largest distance from a central difference: {worst:.0e}")
for each in trace_steps(example, 10):
    print(f"step {each.number:2}: prediction {each.new_prediction[0]:.6f}")
