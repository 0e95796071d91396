/* Patterns that become one operator: found where they should be, the same numbers as the nodes they were, and never over a value that
 * somebody watches. */
#include "test.h"

#include "build_graph.h"

#define WIDTH 13

/* Nodes as "name=Op:input,input", ';' between; values: x (the feed) and the constants of `named`. The last one is the output. */
typedef struct Row {
    const char *name, *nodes, *becomes; /* an op type of the session's graph; NULL: the nodes stay what they are */
    int64_t x[4];                       /* {0}: 3x5xWIDTH */
} Row;

static const struct { const char *name; double value; } scalars[] = {
    { "two", 2 }, { "half", 0.5 }, { "one", 1 }, { "eps", 1e-5 }, { "root2", 1.41421356 }, { "inverse2", 0.70710678 }, { "three", 3 },
    { "minushalf", -0.5 }, { "cubic", 0.044715 }, { "root2pi", 0.7978845608 },
};

static const Row rows[] = {
    { "LayerNormalization, Pow",
      "m=ReduceMean:x;d=Sub:x,m;p=Pow:d,two;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;q=Div:d,r;s=Mul:q,scale;y=Add:s,shift",
      "LayerNormalization", { 0 } },
    { "LayerNormalization, Mul, operands the other way",
      "m=ReduceMean:x;d=Sub:x,m;p=Mul:d,d;v=ReduceMean:p;e=Add:eps,v;r=Sqrt:e;q=Div:d,r;s=Mul:scale,q;y=Add:shift,s",
      "LayerNormalization", { 0 } },
    { "LayerNormalization, a difference for the root alone",
      "m=ReduceMean:x;d=Sub:x,m;c=Sub:x,m;p=Pow:c,whole;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;q=Div:d,r;s=Mul:q,scale;y=Add:s,shift",
      "LayerNormalization", { 0 } },
    { "LayerNormalization, the root's inverse scaled",
      "m=ReduceMean:x;d=Sub:x,m;p=Mul:d,d;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;i=Reciprocal:r;q=Mul:i,scale;s=Mul:d,q;y=Add:s,shift",
      "LayerNormalization", { 0 } },
    { "LayerNormalization, spread out",
      "m=ReduceMean:x;d=Sub:x,m;p=Mul:d,d;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;i=Reciprocal:r;a=Mul:i,scale;b=Mul:x,a;c=Mul:m,a;"
      "f=Sub:shift,c;y=Add:b,f", "LayerNormalization", { 0 } },
    { "LayerNormalization, spread out, another mean",
      "m=ReduceMean:x;n=Abs:m;d=Sub:x,m;p=Mul:d,d;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;i=Reciprocal:r;a=Mul:i,scale;b=Mul:x,a;c=Mul:n,a;"
      "f=Sub:shift,c;y=Add:b,f", NULL, { 0 } },
    { "LayerNormalization, bare", "m=ReduceMean:x;d=Sub:x,m;p=Pow:d,two;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;y=Div:d,r",
      "LayerNormalization", { 0 } },
    { "the deviation is read elsewhere",
      "m=ReduceMean:x;d=Sub:x,m;p=Pow:d,two;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;q=Div:d,r;s=Mul:q,scale;t=Add:s,shift;y=Add:t,d",
      "SimplifiedLayerNormalization", { 0 } },
    { "a row that is broadcast over one",
      "m=ReduceMean:x;d=Sub:x,m;p=Pow:d,two;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;q=Div:d,r;s=Mul:q,scale;y=Add:s,shift", NULL, { 2, 5, 1 } },
    { "root mean square, a row over one", "p=Mul:x,x;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;i=Div:one,r;q=Mul:x,i;y=Mul:q,scale",
      NULL, { 2, 5, 1 } },
    { "a cube",
      "m=ReduceMean:x;d=Sub:x,m;p=Pow:d,three;v=ReduceMean:p;w=Abs:v;e=Add:w,eps;r=Sqrt:e;q=Div:d,r;s=Mul:q,scale;y=Add:s,shift",
      NULL, { 0 } },
    { "root mean square, inverse", "p=Mul:x,x;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;i=Div:one,r;q=Mul:x,i;y=Mul:q,scale",
      "SimplifiedLayerNormalization", { 0 } },
    { "root mean square, quotient",
      "p=Pow:x,two;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;q=Div:x,r;y=Mul:scale,q", "SimplifiedLayerNormalization", { 0 } },
    { "root mean square, reciprocal", "p=Pow:x,whole;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;i=Reciprocal:r;q=Mul:x,i;y=Mul:q,scale",
      "SimplifiedLayerNormalization", { 0 } },
    { "root mean square, power", "p=Mul:x,x;v=ReduceMean:p;e=Add:v,eps;i=Pow:e,minushalf;q=Mul:i,x;w=Add:scale,one;y=Mul:w,q",
      "SimplifiedLayerNormalization", { 0 } },
    { "root mean square of another", "z=Abs:x;p=Mul:z,z;v=ReduceMean:p;e=Add:v,eps;r=Sqrt:e;i=Div:one,r;q=Mul:x,i;y=Mul:q,scale",
      NULL, { 0 } },
    { "a root of another power", "p=Mul:x,x;v=ReduceMean:p;e=Add:v,eps;i=Pow:e,half;q=Mul:i,x;y=Mul:q,scale", NULL, { 0 } },
    { "Gelu by tanh", "c=Pow:x,three;k=Mul:c,cubic;a=Add:x,k;i=Mul:a,root2pi;t=Tanh:i;o=Add:t,one;h=Mul:half,x;y=Mul:h,o", "Gelu", { 0 } },
    { "Gelu by tanh, products", "s=Mul:x,x;c=Mul:s,x;k=Mul:cubic,c;a=Add:k,x;i=Mul:root2pi,a;t=Tanh:i;o=Add:one,t;p=Mul:x,o;y=Mul:half,p",
      "Gelu", { 0 } },
    { "Gelu by tanh, half within",
      "s=Mul:x,x;k=Mul:s,cubic;c=Mul:x,k;a=Add:x,c;i=Mul:a,root2pi;t=Tanh:i;o=Add:t,one;h=Mul:o,half;y=Mul:x,h",
      "Gelu", { 0 } },
    { "Gelu by tanh, factors apart",
      "k=Mul:x,cubic;s=Mul:k,x;b=Add:s,one;f=Mul:x,root2pi;i=Mul:f,b;t=Tanh:i;o=Add:one,t;h=Mul:x,half;y=Mul:h,o", "Gelu", { 0 } },
    { "Gelu by tanh of another cube",
      "z=Abs:x;c=Pow:z,three;k=Mul:c,cubic;a=Add:x,k;i=Mul:a,root2pi;t=Tanh:i;o=Add:t,one;h=Mul:half,x;y=Mul:h,o",
      NULL, { 0 } },
    { "Gelu by tanh of a square", "c=Pow:x,two;k=Mul:c,cubic;a=Add:x,k;i=Mul:a,root2pi;t=Tanh:i;o=Add:t,one;h=Mul:half,x;y=Mul:h,o",
      NULL, { 0 } },
    { "Gelu, half last", "d=Div:x,root2;e=Erf:d;o=Add:e,one;p=Mul:x,o;y=Mul:p,half", "Gelu", { 0 } },
    { "Gelu, half first", "d=Mul:x,inverse2;e=Erf:d;o=Add:one,e;h=Mul:half,x;y=Mul:h,o", "Gelu", { 0 } },
    { "Gelu, half within", "d=Div:x,root2;e=Erf:d;o=Add:e,one;h=Mul:o,half;y=Mul:x,h", "Gelu", { 0 } },
    { "Gelu of another root", "d=Div:x,two;e=Erf:d;o=Add:e,one;p=Mul:x,o;y=Mul:p,half", NULL, { 0 } },
    { "Swish", "g=Sigmoid:x;y=Mul:x,g", "Swish", { 0 } },
    { "Swish, gate first", "g=Sigmoid:x;y=Mul:g,x", "Swish", { 0 } },
    { "Swish of a multiple", "k=Mul:x,three;g=Sigmoid:k;y=Mul:x,g", "Swish", { 0 } },
    { "HardSwish", "g=HardSigmoid:x;y=Mul:x,g", "HardSwish", { 0 } },
    { "HardSwish of another slope", "g=HardSigmoid2:x;y=Mul:x,g", NULL, { 0 } },
    { "Mish", "s=Softplus:x;t=Tanh:s;y=Mul:t,x", "Mish", { 0 } },
    { "the gate is read elsewhere", "g=Sigmoid:x;t=Mul:x,g;y=Add:t,g", NULL, { 0 } },
    { "product and Gelu", "m=MatMul:x,square;b=Add:m,shift;d=Div:b,root2;e=Erf:d;o=Add:e,one;p=Mul:b,o;y=Mul:p,half", "Gelu", { 0 } },
    { "product, row, shortcut", "m=MatMul:x,square;b=Add:shift,m;t=Add:b,x;y=Relu:t", NULL, { 0 } },
    { "product, shortcut, row", "m=MatMul:x,square;t=Add:x,m;y=Add:t,shift", NULL, { 0 } },
    { "product and Swish", "m=MatMul:x,square;g=Sigmoid:m;y=Mul:m,g", "Swish", { 0 } },
    { "product, Relus of two slopes", "m=MatMul:x,square;r=Relu:m;a=Add:r,x;y=LeakyRelu:a", NULL, { 0 } },
    { "product, Clips of two ranges", "m=MatMul:x,square;r=Clip:m,minushalf,half;a=Add:r,x;y=Clip:a,eps,one", NULL, { 0 } },
    { "Conv, Relus of two slopes", "c=Conv:x,tips;r=LeakyRelu:c;a=Add:x,r;y=Relu:a", NULL, { 2, 3, 7, 6 } },
    { "one row", "m=MatMul:x,square;b=Add:m,shift;y=Tanh:b", NULL, { 1, 1, WIDTH } },
    { "pad and Conv", "p=Pad:x,pads;y=Conv:p,filters", NULL, { 2, 3, 7, 6 } },
    { "pad, Conv of its own padding", "p=Pad:x,pads;y=Conv2:p,filters", NULL, { 2, 3, 7, 6 } },
    { "a pad that is read twice", "p=Pad:x,pads;c=Conv:p,filters;m=Relu:p;s=ReduceSum:m;y=Add:c,s", NULL, { 2, 3, 7, 6 } },
    { "pad by ones", "p=Pad:x,pads,one;y=Conv:p,filters", NULL, { 2, 3, 7, 6 } },
    { "Conv and a bias", "c=Conv:x,filters;b=Add:c,perchannel;y=Relu:b", NULL, { 2, 3, 7, 6 } },
    { "Conv and a bias, the other way", "c=Conv:x,filters;y=Add:perchannel,c", NULL, { 2, 3, 7, 6 } },
    { "Conv and a bias along the last axis", "c=Conv:x,filters;y=Add:c,perrow", NULL, { 2, 3, 7, 6 } },
    { "Conv and a scalar", "c=Conv:x,filters;y=Add:c,three", NULL, { 2, 3, 7, 6 } },
    { "attention", "k=Transpose0:x;m=MatMul:x,k;d=Div:m,root2;s=Softmax:d;y=MatMul:s,x", NULL, { 2, 3, 7, 6 } },
    { "attention, no factor", "k=Transpose0:x;m=MatMul:x,k;s=Softmax:m;y=MatMul:s,x", NULL, { 1, 2, 17, 9 } },
    { "attention, a mask made behind", "k=Transpose0:x;m=MatMul:x,k;d=Mul:half,m;r=Relu:keys;a=Add:r,d;s=Softmax:a;y=MatMul:s,x", NULL,
      { 2, 3, 7, 6 } },
    { "attention, a mask of queries", "k=Transpose0:x;m=MatMul:x,k;a=Add:m,queries;s=Softmax:a;y=MatMul:s,x", NULL, { 2, 3, 7, 6 } },
    { "attention, values made behind", "k=Transpose0:x;m=MatMul:x,k;s=Softmax:m;v=Relu:x;w=Neg:v;y=MatMul:s,w", NULL,
      { 2, 2, 5, 8 } },
    { "attention, values of the weights", "k=Transpose0:x;m=MatMul:x,k;s=Softmax:m;v=MatMul:s,x;y=MatMul:s,v", NULL, { 2, 3, 7, 6 } },
    { "attention, heads between",
      "q=Transpose3:x;k=Transpose4:x;m=MatMul:q,k;d=Div:m,two;s=Softmax:d;v=Transpose3:x;c=MatMul:s,v;y=Transpose3:c",
      NULL, { 2, 37, 3, 8 } },
    { "scores that are read twice", "k=Transpose0:x;m=MatMul:x,k;s=Softmax:m;c=MatMul:s,x;r=ReduceSum:s;y=Add:c,r", NULL, { 2, 3, 7, 6 } },
    { "Softmax over queries", "k=Transpose0:x;m=MatMul:x,k;s=Softmax2:m;y=MatMul:s,x", NULL, { 2, 3, 7, 6 } },
    { "there and back", "a=Transpose:x;b=Transpose2:a;y=Relu:b", NULL, { 2, 3, 7, 6 } },
    { "there and back, a result", "a=Transpose:x;y=Transpose2:a", "Identity", { 2, 3, 7, 6 } },
    { "twice there", "a=Transpose:x;b=Transpose:a;y=Relu:b", NULL, { 2, 3, 7, 6 } },
    { "the first is read twice", "a=Transpose:x;b=Transpose2:a;c=Transpose2:a;y=Add:b,c", NULL, { 2, 3, 7, 6 } },
    { "channels last into Conv and out", "a=Transpose2:x;c=Conv:a,filters;r=Relu:c;y=Transpose:r", NULL, { 2, 7, 6, 3 } },
    { "channels last, activation between", "a=Transpose2:x;c=Conv:a,filters;t=Transpose:c;r=Relu:t;b=Transpose2:r;y=Sigmoid:b", NULL,
      { 2, 7, 6, 3 } },
    { "channels last, bias and Clip between", "a=Transpose2:x;c=Conv:a,filters;t=Transpose:c;b=Add:t,perrow;k=Clip:b,"
      "minushalf,half;u=Transpose2:k;y=Tanh:u", NULL, { 2, 7, 6, 3 } },
    { "channels last, a scalar before it", "a=Transpose2:x;c=Conv:a,filters;t=Transpose:c;b=Add:three,t;y=Relu:b", NULL, { 2, 7, 6, 3 } },
    { "channels last, two of a kind", "a=Transpose2:x;c=Conv:a,filters;s=Sigmoid:c;t=Transpose:c;u=Transpose:s;m=Mul:t,u;y=Add:m,u", NULL,
      { 2, 7, 6, 3 } },
    { "turned otherwise", "a=Transpose:x;b=Transpose2:x;y=Add:a,b", NULL, { 2, 5, 5, 5 } },
    { "turned and not", "a=Transpose0:x;b=Relu:a;y=Add:b,x", NULL, { 2, 3, 5, 5 } },
    { "channels last, pooled", "a=Transpose2:x;p=GlobalAveragePool:a;y=Transpose:p", NULL, { 2, 7, 6, 3 } },
};

static ValueId named(Graph *g, const char *name)
{
    ValueId v = graph_find_value(g, str_of(name));
    if (v != 0) return v;
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        if (strcmp(name, scalars[i].name) == 0) return build_constant(g, name, DT_FLOAT, &scalars[i].value, NULL, 0);
    if (strcmp(name, "whole") == 0) return build_constant(g, name, DT_INT64, (double[]){ 2 }, NULL, 0);
    if (strcmp(name, "square") == 0) return build_weight(g, name, 3, DIMS(WIDTH, WIDTH));
    if (strcmp(name, "tips") == 0) return build_weight(g, name, 4, DIMS(3, 3, 1, 1));
    if (strcmp(name, "filters") == 0) return build_weight(g, name, 4, DIMS(5, 3, 3, 2));
    if (strcmp(name, "perchannel") == 0) return build_weight(g, name, 6, DIMS(5, 1, 1));
    if (strcmp(name, "keys") == 0) return build_weight(g, name, 7, DIMS(2, 1, 1, 7));
    if (strcmp(name, "queries") == 0) return build_weight(g, name, 7, DIMS(7, 1));
    if (strcmp(name, "perrow") == 0) return build_weight(g, name, 6, DIMS(5));
    if (strcmp(name, "pads") == 0) return build_constant(g, name, DT_INT64, (double[]){ 0, 0, 1, 0, 0, 0, 2, 1 }, DIMS(8));
    return build_weight(g, name, name[1], DIMS(WIDTH));
}

static void attributes(Graph *g, NodeId n, const char *type)
{
    Err err;
    if (strcmp(type, "ReduceMean") == 0) assert_ok(graph_set_ints(g, n, "axes", (int64_t[]){ -1 }, 1, &err), &err);
    if (strcmp(type, "Transpose") == 0) assert_ok(graph_set_ints(g, n, "perm", (int64_t[]){ 0, 2, 3, 1 }, 4, &err), &err);
    if (strcmp(type, "Transpose2") == 0) {
        assert_ok(graph_set_type(g, n, "Transpose", "", &err), &err);
        assert_ok(graph_set_ints(g, n, "perm", (int64_t[]){ 0, 3, 1, 2 }, 4, &err), &err);
    }
    static const struct { const char *type; int64_t perm[4]; } turns[] = {
        { "Transpose0", { 0, 1, 3, 2 } }, { "Transpose3", { 0, 2, 1, 3 } }, { "Transpose4", { 0, 2, 3, 1 } },
    };
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        if (strcmp(type, turns[i].type) != 0) continue;
        assert_ok(graph_set_type(g, n, "Transpose", "", &err), &err);
        assert_ok(graph_set_ints(g, n, "perm", turns[i].perm, 4, &err), &err);
    }
    if (strcmp(type, "HardSigmoid") == 0) assert_ok(graph_set_float(g, n, "alpha", 1.0F / 6, &err), &err);
    if (strcmp(type, "HardSigmoid2") == 0) assert_ok(graph_set_type(g, n, "HardSigmoid", "", &err), &err);
    if (strcmp(type, "Softmax2") == 0) {
        assert_ok(graph_set_type(g, n, "Softmax", "", &err), &err);
        assert_ok(graph_set_int(g, n, "axis", 2, &err), &err);
    }
    if (strcmp(type, "Conv2") == 0) {
        assert_ok(graph_set_type(g, n, "Conv", "", &err), &err);
        assert_ok(graph_set_ints(g, n, "pads", (int64_t[]){ 1, 0, 0, 2 }, 4, &err), &err);
    }
}

static Graph *make(const Row *r)
{
    Graph *g = build_new(17);
    char text[512];
    static const int64_t usual[] = { 3, 5, WIDTH };
    int rank = r->x[0] == 0 ? 3 : r->x[3] != 0 ? 4 : 3;
    build_input(g, "x", DT_FLOAT, r->x[0] == 0 ? usual : r->x, rank);
    snprintf(text, sizeof text, "%s", r->nodes);
    ValueId y = 0;
    for (char *save = NULL, *part = strtok_r(text, ";", &save); part != NULL; part = strtok_r(NULL, ";", &save)) {
        ValueId in[3] = { 0 };
        int count = 0;
        char *inner = NULL, *name = strtok_r(part, "=", &inner), *type = strtok_r(NULL, ":", &inner);
        for (char *input; (input = strtok_r(NULL, ",", &inner)) != NULL; count++) in[count] = named(g, input);
        y = graph_add_value(g, str_of(name), DT_NONE, NULL);
        NodeId n = graph_add_node(g, type, "", str_of(name), in, count, &y, 1);
        assert_true(n != 0);
        attributes(g, n, type);
    }
    build_output(g, y);
    build_ready(g);
    return g;
}

static int found(const Graph *g, const char *becomes, const SessionOptions *options)
{
    Session *s;
    Err err;
    assert_ok(session_new(g, options, &s, &err), &err);
    int count = build_count(session_graph(s), becomes);
    session_free(s);
    return count;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        Graph *g = make(r);
        Tensor plain = build_run(g, 1, 1, true), fast = build_run(g, 1, 1, false);
        double distance = build_distance(&fast, &plain);
        if (!(distance <= 1e-5)) fail_msg("%s: differs from the plain forward by %g", r->name, distance);
        assert_true(shape_eq(&plain.shape, &fast.shape));
        static const char *const made[] = { "LayerNormalization", "SimplifiedLayerNormalization", "Gelu", "Swish", "HardSwish",
                                             "Mish", "Identity" };
        for (size_t k = 0; k < sizeof made / sizeof *made; k++) {
            bool wanted = r->becomes != NULL && strcmp(made[k], r->becomes) == 0;
            int count = found(g, made[k], &(SessionOptions){ .threads = 1 });
            if ((count > 0) != wanted) fail_msg("%s: %d of %s", r->name, count, made[k]);
            assert_int_equal(found(g, made[k], &(SessionOptions){ .threads = 1, .plain = true }), 0);
        }
        tensor_release(&plain);
        tensor_release(&fast);
        graph_free(g);
    }
}

typedef struct Seen {
    int count;
    double first;
} Seen;

static Status see(void *user, ValueId value, const Tensor *tensor, Err *err)
{
    (void)value, (void)err;
    Seen *s = user;
    s->count++;
    s->first = tensor_get(tensor, 0);
    return OK;
}

/* Every value of every row, watched alone, is seen with what the plain forward makes of it; unwatched, it runs as before. */
static void test_watched(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = make(&rows[i]);
        for (ValueId v = 1; v <= g->value_count; v++) {
            if (graph_value(g, v)->producer == 0) continue;
            Seen seen[2] = { { 0 } };
            Err err;
            for (int plain = 0; plain < 2; plain++) {
                Session *s;
                Tensor x = { 0 }, y[2] = { 0 };
                assert_ok(tensor_new(&x, DT_FLOAT, &graph_value(g, g->inputs[0])->shape, &err), &err);
                for (int64_t k = 0; k < tensor_count(&x); k++) tensor_set(&x, k, build_noise(5, k));
                assert_ok(session_new(g, &(SessionOptions){ .threads = 1, .plain = plain }, &s, &err), &err);
                assert_ok(session_observe(s, &v, 1, see, &seen[plain], &err), &err);
                assert_ok(session_run(s, &x, y, &err), &err);
                tensor_release(&y[0]);
                assert_ok(session_observe(s, NULL, 0, NULL, NULL, &err), &err);
                assert_ok(session_run(s, &x, y, &err), &err);
                tensor_release(&y[0]);
                tensor_release(&x);
                session_free(s);
            }
            Str name = graph_value(g, v)->name;
            if (seen[0].count != 1 || seen[1].count != 1 || !(fabs(seen[0].first - seen[1].first) <= 1e-4 * (1 + fabs(seen[1].first))))
                fail_msg("%s, '%.*s': seen %d times, %g for %g", rows[i].name, STR_ARG(name), seen[0].count, seen[0].first, seen[1].first);
        }
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_watched) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
