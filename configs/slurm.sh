#!/bin/sh
# Trains on two machines with four GPUs each: sbatch configs/slurm.sh
# Before the time limit, Slurm sends USR1, and Lightning requeues the job, which resumes its run.
#SBATCH --signal=USR1@90
#SBATCH --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --time=00:10:00
srun python -m mnist_lightning fit --trainer.strategy ddp --trainer.num_nodes 2 --trainer.devices 4
