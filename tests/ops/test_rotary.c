/* Rotary embeddings as exporters spell them: one operator in their place, bit for bit the numbers of the nodes they were; what only looks
 * like one stays as it is. */
#include "test.h"

#include "build_graph.h"
#include "engine/ops/integer.h"
#include "engine/ops/rotary.h"

#define DEPTH 8

/* x: float32 [B,3,T,8], B and T symbols, 5 where it runs. Nodes as "a,b=Op:input,input", ';' between; the last value is the output. */
typedef struct Row {
    const char *name, *nodes;
    int order, made; /* -1: stays */
} Row;

#define ANGLES "p=Mul:x,cos;"
static const Row rows[] = {
    { "halves by Slice", "a=Slice:x,zero,half,axis,step;b=Slice:x,half,max,axis,step;n=Neg:b;r=Concat:n,a;q=Mul:r,sin;" ANGLES "y=Add:p,q",
      ROTARY_HALVES, ROTARY_HALVES },
    { "halves by Slice, operands the other way",
      "a=Slice:x,zero,half,axis;b=Slice:x,half,max,axis;n=Neg:b;r=Concat:n,a;q=Mul:sin,r;p=Mul:cos,x;y=Add:q,p",
      ROTARY_HALVES, ROTARY_HALVES },
    { "halves by Slice with bounds made of the shape",
      "s=Shape:x;d=Gather0:s,three;h=Div:d,two;u=Unsqueeze0:h,first;a=Slice:x,zero,u,axis,step;b=Slice:x,u,max,axis,step;n=Neg:b;"
      "r=Concat:n,a;q=Mul:r,sin;" ANGLES "y=Add:p,q", ROTARY_HALVES, ROTARY_HALVES },
    { "halves by Split", "a,b=Split:x;n=Neg:b;r=Concat:n,a;q=Mul:r,sin;" ANGLES "y=Add:p,q", ROTARY_HALVES, ROTARY_HALVES },
    { "a product by -1", "a,b=Split:x;n=Mul:b,minus;r=Concat:n,a;q=Mul:r,sin;" ANGLES "y=Add:p,q", ROTARY_HALVES, ROTARY_HALVES },
    { "angles of each sample and position", "a,b=Split:x;n=Neg:b;r=Concat:n,a;c=Cos:t;s=Sin:t;q=Mul:r,s;p=Mul:x,c;y=Add:p,q",
      ROTARY_HALVES, ROTARY_HALVES },
    { "behind a Transpose",
      "z=Transpose:x;a,b=Split:z;n=Neg:b;r=Concat:n,a;q=Mul:r,headsin;p=Mul:z,headcos;w=Add:p,q;y=Relu:w", ROTARY_HALVES, ROTARY_HALVES },
    { "two halves, joined", "a,b=Split:x;p=Mul:a,c;q=Mul:b,s;f=Sub:p,q;v=Mul:b,c;w=Mul:a,s;g=Add:v,w;y=Concat:f,g",
      ROTARY_HALVES, ROTARY_HALVES },
    { "two halves, joined, the other way",
      "a=Slice:x,zero,half,axis;b=Slice:x,half,max,axis;p=Mul:c,a;q=Mul:s,b;f=Sub:p,q;v=Mul:c,b;w=Mul:s,a;g=Add:w,v;"
      "y=Concat:f,g", ROTARY_HALVES, ROTARY_HALVES },
    { "every other, to pairs",
      "a=Slice:x,zero,max,axis,second;b=Slice:x,next,max,axis,second;n=Neg:b;i=Unsqueeze:n,axis;j=Unsqueeze:a,axis;"
      "k=Concat:i,j;r=Reshape:k,shape;q=Mul:r,sin;" ANGLES "y=Add:p,q", ROTARY_NEXT, ROTARY_NEXT },
    { "pairs by Reshape, Split, Squeeze", "h=Reshape:x,pairs;d,e=Split:h;a=Squeeze:d,axis;b=Squeeze:e,axis;n=Neg:b;i=Unsqueeze:n,axis;"
      "j=Unsqueeze:a,axis;k=Concat:i,j;r=Reshape:k,shape;q=Mul:r,sin;" ANGLES "y=Add:p,q", ROTARY_NEXT, ROTARY_NEXT },
    { "pairs by Reshape, Gather", "h=Reshape:x,pairs;a=Gather:h,none;b=Gather:h,one;p=Mul:a,c;q=Mul:b,s;f=Sub:p,q;v=Mul:b,c;w=Mul:a,s;"
      "g=Add:w,v;i=Unsqueeze:f,axis;j=Unsqueeze:g,axis;k=Concat:i,j;y=Reshape:k,shape", ROTARY_PAIRS, ROTARY_PAIRS },
    { "pairs by Reshape, Slice, Squeeze",
      "h=Reshape:x,pairs;d=Slice:h,zero,next,axis;e=Slice:h,next,max,axis;a=Squeeze:d,axis;b=Squeeze:e,axis;"
      "p=Mul:a,c;q=Mul:b,s;f=Sub:p,q;v=Mul:b,c;w=Mul:a,s;g=Add:w,v;i=Unsqueeze:f,axis;j=Unsqueeze:g,axis;k=Concat:i,j;y=Reshape:k,shape",
      ROTARY_PAIRS, ROTARY_PAIRS },
    { "every other, joined as halves", "a=Slice:x,zero,max,axis,second;b=Slice:x,next,max,axis,second;p=Mul:a,c;q=Mul:b,s;f=Sub:p,q;"
      "v=Mul:b,c;w=Mul:a,s;g=Add:w,v;y=Concat:f,g", ROTARY_NEXT, ROTARY_HALVES },
    { "every other, to an axis of pairs", "a=Slice:x,zero,max,axis,second;b=Slice:x,next,max,axis,second;p=Mul:a,c;q=Mul:b,s;f=Sub:p,q;"
      "v=Mul:b,c;w=Mul:a,s;g=Add:w,v;i=Unsqueeze:f,axis;j=Unsqueeze:g,axis;y=Concat:i,j", ROTARY_NEXT, ROTARY_PAIRS },
    { "the first part only", "z=Slice:x,zero,half,axis;o=Slice:x,half,max,axis;a,b=Split:z;n=Neg:b;r=Concat:n,a;q=Mul:r,s;p=Mul:z,c;"
      "w=Add:p,q;y=Concat:w,o", ROTARY_HALVES, ROTARY_HALVES },
    { "angles that make it larger", "a,b=Split:x;n=Neg:b;r=Concat:n,a;q=Mul:r,many;" ANGLES "y=Add:p,q", ROTARY_HALVES, ROTARY_HALVES },

    { "the halves the wrong way", "a,b=Split:x;n=Neg:b;r=Concat:a,n;q=Mul:r,sin;" ANGLES "y=Add:p,q", -1, -1 },
    { "the first half turned", "a,b=Split:x;n=Neg:a;r=Concat:b,n;q=Mul:r,sin;" ANGLES "y=Add:p,q", -1, -1 },
    { "nothing turned", "a,b=Split:x;n=Abs:b;r=Concat:n,a;q=Mul:r,sin;" ANGLES "y=Add:p,q", -1, -1 },
    { "the same half twice",
      "a=Slice:x,half,max,axis;b=Slice:x,half,max,axis;n=Neg:b;r=Concat:n,a;q=Mul:r,sin;" ANGLES "y=Add:p,q", -1, -1 },
    { "halves of another", "a,b=Split:t;n=Neg:b;r=Concat:n,a;q=Mul:r,sin;" ANGLES "y=Add:p,q", -1, -1 },
    { "halves that overlap",
      "a=Slice:x,zero,half,axis;b=Slice:x,third,third2,axis;n=Neg:b;r=Concat:n,a;q=Mul:r,sin;" ANGLES "y=Add:p,q", -1, -1 },
    { "joined along heads", "a,b=Split1:t;n=Neg:b;r=Concat1:n,a;q=Mul:r,sin;p=Mul:t,cos;y=Add:p,q", -1, -1 },
    { "a half is read elsewhere", "a,b=Split:x;n=Neg:b;r=Concat:n,a;q=Mul:r,sin;" ANGLES "z=Add:p,q;m=ReduceSum:a;y=Add:z,m", -1, -1 },
    { "one angle for all", "a,b=Split:x;n=Neg:b;r=Concat:n,a;q=Mul:r,minus;" ANGLES "y=Add:p,q", -1, -1 },
    { "a sum where a difference is", "a,b=Split:x;p=Mul:a,c;q=Mul:b,s;f=Add:p,q;v=Mul:b,c;w=Mul:a,s;g=Add:v,w;y=Concat:f,g", -1, -1 },
    { "sines for cosines", "a,b=Split:x;p=Mul:a,c;q=Mul:b,s;f=Sub:p,q;v=Mul:b,s;w=Mul:a,c;g=Add:v,w;y=Concat:f,g", -1, -1 },
    { "stacked across", "a=Slice:x,zero,max,axis,second;b=Slice:x,next,max,axis,second;n=Neg:b;i=Unsqueeze:n,before;j=Unsqueeze:a,before;"
      "k=Concat:i,j;r=Reshape:k,shape;q=Mul:r,sin;" ANGLES "y=Add:p,q", -1, -1 },
    { "stacked to another shape", "a=Slice:x,zero,max,axis,second;b=Slice:x,next,max,axis,second;n=Neg:b;i=Unsqueeze:n,axis;"
      "j=Unsqueeze:a,axis;k=Concat:i,j;r=Reshape:k,turned;z=Transpose:x;q=Mul:r,headsin;p=Mul:z,headcos;y=Add:p,q", -1, -1 },
};

static ValueId integers(Graph *g, const char *name, const double *values, int count, int rank)
{
    return build_constant(g, name, DT_INT64, values, (int64_t[]){ count }, rank);
}

static ValueId named(Graph *g, const char *name)
{
    static const struct { const char *name; double at; int rank; } numbers[] = {
        { "zero", 0, 1 }, { "half", DEPTH / 2, 1 }, { "max", 9223372036854774784.0, 1 }, { "axis", -1, 1 }, { "step", 1, 1 },
        { "second", 2, 1 }, { "next", 1, 1 }, { "none", 0, 0 }, { "one", 1, 0 }, { "three", 3, 0 }, { "two", 2, 0 },
        { "first", 0, 1 }, { "third", 3, 1 }, { "third2", 7, 1 }, { "before", -2, 1 },
    };
    static const struct { const char *name; int64_t dims[5]; int rank; } angles[] = {
        { "cos", { 5, DEPTH }, 2 }, { "sin", { 5, DEPTH }, 2 }, { "headcos", { 3, DEPTH }, 2 }, { "headsin", { 3, DEPTH }, 2 },
        { "c", { 5, DEPTH / 2 }, 2 }, { "s", { 1, 1, 5, DEPTH / 2 }, 4 }, { "many", { 2, 1, 1, 1, DEPTH }, 5 },
    };
    ValueId v = graph_find_value(g, str_of(name));
    if (v != 0) return v;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0) return integers(g, name, &numbers[i].at, 1, numbers[i].rank);
    for (size_t i = 0; i < sizeof angles / sizeof *angles; i++)
        if (strcmp(name, angles[i].name) == 0) return build_weight(g, name, i + 3, angles[i].dims, angles[i].rank);
    if (strcmp(name, "shape") == 0) return integers(g, name, (double[]){ 0, 0, -1, DEPTH }, 4, 1);
    if (strcmp(name, "turned") == 0) return integers(g, name, (double[]){ 0, -1, 3, DEPTH }, 4, 1);
    if (strcmp(name, "pairs") == 0) return integers(g, name, (double[]){ 0, 0, 0, DEPTH / 2, 2 }, 5, 1);
    assert_string_equal(name, "minus");
    return build_constant(g, name, DT_FLOAT, (double[]){ -1 }, NULL, 0);
}

/* A digit behind an operator's name is its axis; without one the last axis. */
static NodeId add_node(Graph *g, char *type, Str name, const ValueId *in, int count, const ValueId *out, int out_count)
{
    Err err;
    size_t len = strlen(type);
    bool given = type[len - 1] >= '0' && type[len - 1] <= '9';
    int64_t axis = given ? type[len - 1] - '0' : -1;
    if (given) type[len - 1] = '\0';
    NodeId n = graph_add_node(g, type, "", name, in, count, out, out_count);
    assert_true(n != 0);
    if (strcmp(type, "Split") == 0 || strcmp(type, "Concat") == 0 || strcmp(type, "Gather") == 0)
        assert_ok(graph_set_int(g, n, "axis", axis, &err), &err);
    if (strcmp(type, "Transpose") == 0) assert_ok(graph_set_ints(g, n, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4, &err), &err);
    return n;
}

static Graph *make(const Row *r)
{
    Graph *g = build_new(17);
    char text[512];
    ValueId out[2] = { 0 };
    int64_t b = graph_symbol(g, STR("B")), t = graph_symbol(g, STR("T"));
    build_input(g, "x", DT_FLOAT, (int64_t[]){ b, 3, t, DEPTH }, 4);
    int64_t heads = strstr(r->nodes, "Split1") != NULL ? 6 : 1;
    if (strstr(r->nodes, ":t") != NULL) build_input(g, "t", DT_FLOAT, (int64_t[]){ b, heads, t, DEPTH }, 4);
    assert_true(strlen(r->nodes) < sizeof text);
    snprintf(text, sizeof text, "%s", r->nodes);
    for (char *save = NULL, *part = strtok_r(text, ";", &save); part != NULL; part = strtok_r(NULL, ";", &save)) {
        ValueId in[5] = { 0 };
        int count = 0, made = 0;
        char *inner = NULL, *deep = NULL, *names = strtok_r(part, "=", &inner), *type = strtok_r(NULL, ":", &inner), *first = names;
        for (char *input; (input = strtok_r(NULL, ",", &inner)) != NULL; count++) in[count] = named(g, input);
        for (char *name = strtok_r(names, ",", &deep); name != NULL; name = strtok_r(NULL, ",", &deep), made++)
            out[made] = graph_add_value(g, str_of(name), DT_NONE, NULL);
        add_node(g, type, str_of(first), in, count, out, made);
    }
    build_output(g, out[0]);
    build_ready(g);
    return g;
}

/* The fused node's attributes and how many there are. */
static int found(const Graph *g, bool plain, int *order, int *made)
{
    Session *s;
    Err err;
    int count = 0;
    assert_ok(session_new(g, &(SessionOptions){ .threads = 1, .plain = plain }, &s, &err), &err);
    const Graph *own = session_graph(s);
    for (NodeId n = 1; n <= own->node_count; n++) {
        const Node *node = graph_node(own, n);
        if (node->removed || !str_is(node->type, "Rotary")) continue;
        assert_true(str_is(node->domain, INTEGER_DOMAIN));
        *order = (int)node_int(node, "order", -1);
        *made = (int)node_int(node, "made", -1);
        count++;
    }
    session_free(s);
    return count;
}

static void count_kernel(void *user, const StepTrace *step)
{
    *(int *)user += strcmp(step->kernel, "rotary") == 0;
}

static int taken(const Graph *g)
{
    Session *s;
    Tensor in[2] = { { 0 } }, y;
    ValueId feeds[2];
    Err err;
    int count = 0, feed_count = graph_feeds(g, feeds, 2);
    for (int i = 0; i < feed_count; i++) {
        Shape shape = graph_value(g, feeds[i])->shape;
        shape.dims[0] = 2;
        shape.dims[2] = 5;
        assert_ok(tensor_new(&in[i], DT_FLOAT, &shape, &err), &err);
    }
    assert_ok(session_new(g, &(SessionOptions){ .threads = 1 }, &s, &err), &err);
    session_trace(s, count_kernel, &count);
    assert_ok(session_run(s, in, &y, &err), &err);
    session_free(s);
    tensor_release(&y);
    for (int i = 0; i < feed_count; i++) tensor_release(&in[i]);
    return count;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        Graph *g = make(r);
        int order = -1, made = -1;
        Tensor plain = build_run(g, 5, 1, true), fast = build_run(g, 5, 1, false);
        assert_int_equal(found(g, true, &order, &made), 0);
        int count = found(g, false, &order, &made);
        if (count != (r->order >= 0) || order != r->order || made != r->made)
            fail_msg("%s: %d found, order %d, made %d", r->name, count, order, made);
        assert_int_equal(taken(g), count);
        if (!shape_eq(&plain.shape, &fast.shape) || memcmp(plain.data, fast.data, plain.bytes) != 0)
            fail_msg("%s: differs from the plain forward by %g", r->name, build_distance(&fast, &plain));
        tensor_release(&plain);
        tensor_release(&fast);
        graph_free(g);
    }
}

/* What is watched stays, and is seen. */
static Status see(void *user, ValueId value, const Tensor *tensor, Err *err)
{
    (void)value, (void)err;
    *(double *)user = tensor_get(tensor, 0);
    return OK;
}

static void test_watched(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].order < 0 || strstr(rows[i].nodes, ":t") != NULL) continue;
        Graph *g = make(&rows[i]);
        for (ValueId v = 1; v <= g->value_count; v++) {
            double first[2] = { NAN, NAN };
            Err err;
            if (graph_value(g, v)->producer == 0) continue;
            for (int plain = 0; plain < 2; plain++) {
                Session *s;
                Tensor x = { 0 }, y = { 0 };
                assert_ok(tensor_new(&x, DT_FLOAT, &(Shape){ 4, { 2, 3, 5, DEPTH } }, &err), &err);
                for (int64_t k = 0; k < tensor_count(&x); k++) tensor_set(&x, k, build_noise(5, k));
                assert_ok(session_new(g, &(SessionOptions){ .threads = 1, .plain = plain }, &s, &err), &err);
                assert_ok(session_observe(s, &v, 1, see, &first[plain], &err), &err);
                assert_ok(session_run(s, &x, &y, &err), &err);
                tensor_release(&y);
                tensor_release(&x);
                session_free(s);
            }
            if (first[0] != first[1]) fail_msg("%s, value %u: %g for %g", rows[i].name, v, first[0], first[1]);
        }
        graph_free(g);
    }
}

/* Shared out to threads, with rows that end in the middle of the last axis: the same bytes. */
static void test_threads(void **state)
{
    (void)state;
    Graph *g = build_new(17);
    const int64_t dims[] = { 7, 13, 101, 16 };
    char nodes[] = "Split", concat[] = "Concat";
    ValueId x = build_input(g, "x", DT_FLOAT, dims, 4), halves[2];
    ValueId cosine = build_weight(g, "c", 3, DIMS(13, 1, 16)), sine = build_weight(g, "s", 4, DIMS(101, 16));
    for (int k = 0; k < 2; k++) halves[k] = graph_add_value(g, STR("h"), DT_NONE, NULL);
    add_node(g, nodes, STR("split"), &x, 1, halves, 2);
    ValueId minus = build_node(g, "Neg", "n", halves[1], -1), turned = graph_add_value(g, STR("r"), DT_NONE, NULL);
    add_node(g, concat, STR("concat"), (ValueId[]){ minus, halves[0] }, 2, &turned, 1);
    ValueId p = build_node(g, "Mul", "p", x, cosine, -1), q = build_node(g, "Mul", "q", turned, sine, -1);
    build_output(g, build_node(g, "Add", "y", p, q, -1));
    build_ready(g);
    Err err;
    Tensor in = { 0 }, out[3] = { 0 };
    assert_ok(tensor_new(&in, DT_FLOAT, &(Shape){ 4, { 7, 13, 101, 16 } }, &err), &err);
    for (int64_t k = 0; k < tensor_count(&in); k++) tensor_set(&in, k, build_noise(9, k));
    for (int way = 0; way < 3; way++) {
        Session *s;
        assert_ok(session_new(g, &(SessionOptions){ .threads = 1 + way % 2, .plain = way == 2 }, &s, &err), &err);
        assert_ok(session_run(s, &in, &out[way], &err), &err);
        session_free(s);
    }
    for (int way = 1; way < 3; way++) assert_memory_equal(out[way].data, out[0].data, out[0].bytes);
    for (int way = 0; way < 3; way++) tensor_release(&out[way]);
    tensor_release(&in);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_watched), cmocka_unit_test(test_threads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
