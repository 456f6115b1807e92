"""The demo's past: halls of a park with two months of history, signed by simulated gateways, and going on.

halls     what stands in the park, and its power at any moment: pure, from one seed
chains    each gateway's samples, events and batches: pure, from the halls and the state that it ended with
keeping   made once, kept under build/, imported into the demo's hub, continued while the demo runs
"""
