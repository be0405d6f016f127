/* cuBLAS as far as ClipCuda calls it. */
CALL(cublasCreate_v2, (H *handle), (handle))
CALL(cublasDestroy_v2, (H handle), (handle))
CALL(cublasSetStream_v2, (H handle, H stream), (handle, stream))
CALL(cublasSetMathMode, (H handle, int mode), (handle, mode))
CALL(cublasSetWorkspace_v2, (H handle, void *workspace, Z bytes), (handle, workspace, bytes))
CALL(cublasGetProperty, (int property, int *value), (property, value))
CALL(cublasGetVersion_v2, (H handle, int *version), (handle, version))
CALL(cublasGemmEx,
     (H handle, int ta, int tb, int m, int n, int k, const float *alpha, const void *a, int at, int lda, const void *b, int bt, int ldb, const float *beta,
      void *c, int ct, int ldc, int compute, int algorithm),
     (handle, ta, tb, m, n, k, alpha, a, at, lda, b, bt, ldb, beta, c, ct, ldc, compute, algorithm))
CALL(cublasGemmStridedBatchedEx,
     (H handle, int ta, int tb, int m, int n, int k, const float *alpha, const void *a, int at, int lda, L sa, const void *b, int bt, int ldb, L sb,
      const float *beta, void *c, int ct, int ldc, L sc, int batch, int compute, int algorithm),
     (handle, ta, tb, m, n, k, alpha, a, at, lda, sa, b, bt, ldb, sb, beta, c, ct, ldc, sc, batch, compute, algorithm))
