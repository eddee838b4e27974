/*
 * optim_loops.h: the loops of optim.c for one dtype.  Included twice, with
 *   T      float or double
 *   ROOT   its square root
 *   NAME(x)  the function's name for that dtype
 * Elements are independent, and sums are taken over fixed blocks: the result does
 * not depend on the threads.
 */
static void NAME(sgd)(const step *s, int64_t n, T *p, const T *g, T *m, int threads) {
    const T lr = (T)s->lr, wd = (T)s->decay, mu = (T)s->mu, ratio = (T)s->ratio;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < n; i++) {
        T d = ratio * (g[i] + wd * p[i]), v = d;
        if (m) {
            v = s->first ? d : mu * m[i] + d;
            m[i] = v;
            if (s->nesterov) v = d + mu * v;
        }
        p[i] -= lr * v;
    }
}

static void NAME(adam)(const step *s, int64_t n, T *p, const T *g, T *m, T *v, int threads) {
    const T lr = (T)(s->lr * s->scale1), wd = (T)s->decay, shrink = (T)s->shrink;
    const T b1 = (T)s->beta1, c1 = (T)(1 - s->beta1), b2 = (T)s->beta2, c2 = (T)(1 - s->beta2);
    const T eps = (T)s->eps, root2 = (T)s->root2;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < n; i++) {
        T d = g[i] + wd * p[i];
        m[i] = b1 * m[i] + c1 * d;
        v[i] = b2 * v[i] + c2 * d * d;
        p[i] = shrink * p[i] - lr * m[i] / (ROOT(v[i]) * root2 + eps);
    }
}

/* The direction of LAMB for element i. */
static inline T NAME(lamb_at)(const step *s, const T *p, const T *m, const T *v, int64_t i) {
    const T scale1 = (T)s->scale1, root2 = (T)s->root2, eps = (T)s->eps, wd = (T)s->decay;
    return scale1 * m[i] / (ROOT(v[i]) * root2 + eps) + wd * p[i];
}

/* New moments; sums[b] = the squares of block b of the direction. */
static void NAME(lamb_moments)(const step *s, int64_t n, const T *p, const T *g, T *m, T *v,
                               double *sums, int threads) {
    const T b1 = (T)s->beta1, c1 = (T)(1 - s->beta1), b2 = (T)s->beta2, c2 = (T)(1 - s->beta2);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t b = 0; b < (n + BLOCK - 1) / BLOCK; b++) {
        int64_t end = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        double sum = 0;
        for (int64_t i = b * BLOCK; i < end; i++) {
            m[i] = b1 * m[i] + c1 * g[i];
            v[i] = b2 * v[i] + c2 * g[i] * g[i];
            double u = (double)NAME(lamb_at)(s, p, m, v, i);
            sum += u * u;
        }
        sums[b] = sum;
    }
}

static void NAME(lamb_step)(const step *s, int64_t n, T *p, const T *m, const T *v, int threads) {
    const T lr = (T)(s->lr * s->ratio);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < n; i++) p[i] -= lr * NAME(lamb_at)(s, p, m, v, i);
}

#undef T
#undef ROOT
#undef NAME
