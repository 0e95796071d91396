/* Every family of operators: one .c file each, which ends in the array named here (its last entry has type NULL). */
#ifndef PARE_ENGINE_OPS_LIST_H
#define PARE_ENGINE_OPS_LIST_H

#include "graph/op.h"

#define OP_FAMILIES(X) \
    X(ops_constant)    /* Constant, ConstantOfShape, Identity, Dropout (inference), Cast, Range, EyeLike */ \
    X(ops_unary)       /* Relu, Sigmoid, Exp, Sqrt, Clip, LeakyRelu, Gelu ... */ \
    X(ops_binary)      /* Add, Mul, Pow, Equal, Where, Min, Max, And ... */ \
    X(ops_legacy)      /* Add, Mul, PRelu, And ... of opsets 1 to 6, with the attribute broadcast */ \
    X(ops_shape)       /* Shape, Size, Reshape, Flatten, Squeeze, Unsqueeze, Expand, Transpose, DepthToSpace ... */ \
    X(ops_slice)       /* Slice, Split, Concat */ \
    X(ops_pad)         /* Pad, Tile */ \
    X(ops_gather)      /* Gather, GatherElements, GatherND, Scatter*, OneHot ... */ \
    X(ops_reduce)      /* ReduceSum ..., ArgMax, ArgMin, CumSum, TopK */ \
    X(ops_unique)      /* Unique */ \
    X(ops_resize)      /* Resize, Upsample */ \
    X(ops_conv)        /* Conv, ConvTranspose */ \
    X(ops_pool)        /* MaxPool, AveragePool, GlobalAveragePool ... */ \
    X(ops_matmul)      /* MatMul, Gemm, Einsum */ \
    X(ops_norm)        /* BatchNormalization, InstanceNormalization, LayerNormalization, LRN, Softmax, LogSoftmax ... */ \
    X(ops_recurrent)   /* RNN, GRU, LSTM */ \
    X(ops_control)     /* If, Loop */ \
    X(ops_scan)        /* Scan */ \
    X(ops_loss)        /* NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss */ \
    X(ops_attention)   /* Attention */ \
    X(ops_linear_attention) /* LinearAttention */ \
    X(ops_sequence)    /* RotaryEmbedding, CausalConvWithState, TensorScatter, SwiGLU, CumProd, BitCast */ \
    X(ops_sample)      /* GridSample, AffineGrid, DeformConv, RoiAlign, MaxRoiPool */ \
    X(ops_signal)      /* DFT, STFT, HannWindow, HammingWindow, BlackmanWindow, MelWeightMatrix */ \
    X(ops_spatial)     /* Col2Im, CenterCropPad, MaxUnpool, Det, NonMaxSuppression */ \
    X(ops_quantize)    /* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, QLinearConv, ConvInteger, MatMulInteger ... */ \
    X(ops_ms_qlinear)  /* com.microsoft, here and below: QLinearAdd, QLinearMul, QLinearConcat, QLinear poolings and activations */ \
    X(ops_ms_product)  /* QGemm, MatMulIntegerToFloat, DynamicQuantizeMatMul */ \
    X(ops_ms_lstm)     /* DynamicQuantizeLSTM */ \
    X(ops_ms_block)    /* MatMulNBits, GatherBlockQuantized */ \
    X(ops_ms_fused)    /* FusedConv, FusedGemm, FusedMatMul, Gelu, BiasGelu, FastGelu, QuickGelu, QuantizeLinear, DequantizeLinear */ \
    X(ops_ms_norm)     /* SkipLayerNormalization, EmbedLayerNormalization, SimplifiedLayerNormalization ... */ \
    X(ops_ms_attention) /* Attention, MultiHeadAttention */ \
    X(ops_ms_grouped)  /* GroupQueryAttention, RotaryEmbedding */

#define X(family) extern const Op family[];
OP_FAMILIES(X)
#undef X

#endif
