"""Method "kmeans": one cluster for each attribute. A row belongs to the nearest centre in row-centred logits."""

import numpy as np

from dbpt._core import assign_nearest, kmeans
from dbpt.cautions import caution
from dbpt.guesses.assignment import best_assignment
from dbpt.guesses.base import Clusters, Job, PseudoAttributes, PseudoMethod
from dbpt.guesses.clusters import MAX_ITER, best_of_starts, starting_points


class KMeans(PseudoMethod):
    """The nearest of A centres, matched one to one with the attributes."""

    @classmethod
    def label(cls, job: Job) -> PseudoAttributes:
        """Label the rows. The posterior is that of equally weighted spherical Gaussians with the pooled variance."""
        num_attributes, sample_NA = job.logits.shape[1], job.sample()
        starts = starting_points(sample_NA - sample_NA.mean(axis=1, keepdims=True), num_attributes, job.seed)
        start = best_of_starts(sample_NA, starts, job.num_threads)
        centers, counts, inertia, iterations = kmeans(
            job.logits, start, rows=job.fit_rows, max_iter=MAX_ITER, num_threads=job.num_threads
        )
        centers, counts = centers[counts > 0], counts[counts > 0]
        if len(centers) < num_attributes:
            job.warnings.append(caution("few clusters", n=len(centers), attributes=num_attributes))
        if iterations >= MAX_ITER:
            job.warnings.append(caution("moving centres", n=MAX_ITER))
        # A cluster belongs to the attribute whose logit its centre raises, but each attribute gets one at most.
        names = best_assignment(centers)
        centers_AA, counts_A = np.full((num_attributes, num_attributes), np.inf), np.zeros(num_attributes, np.int64)
        centers_AA[names], counts_A[names] = centers, counts
        # Rows are centred, so A logits vary in A - 1 directions.
        variance = inertia / (int(counts.sum()) * (num_attributes - 1))
        assign_nearest(job.logits, centers_AA, variance, **job.assign_arguments)
        return job.result(cls.name, clusters=Clusters(centers_AA, counts_A, inertia, iterations))
