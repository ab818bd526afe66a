#!/bin/sh
# Trains on two machines with four GPUs each: sbatch configs/slurm.sh
#SBATCH --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --time=00:10:00
srun python -m mnist_lightning fit --trainer.strategy ddp --trainer.num_nodes 2 --trainer.devices 4
