"""How well an attribution matrix predicts retraining: LDS, removal, mislabelled examples; and free baselines."""
