/* Padded positions: found by what the network does, and left out of what is measured. */
#include "net.h"

#include "data/dataset.h"
#include "quantize/trial.h"
#include "stats/live.h"
#include "stats/walk.h"

enum { SAMPLES = 12, LENGTH = 8, WIDTH = 3, OUTPUTS = 4 };

typedef enum Mixing { MASKED, UNMASKED, SHOWN } Mixing;

/* y = x W, s = sum of y over the positions: those that the mask has as 1, or all; SHOWN: y itself is what the mask changes.
 * `off` is added to y where the mask is 0, `shift` everywhere. */
static Graph *net(Mixing mixing, double off, double shift, int64_t length)
{
    Graph *g = net_new(17);
    int64_t axis = 2, first = 1;
    Tensor axes, along;
    Err err;
    Shape one = shape_of(1, &first);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(-1, length, WIDTH)), mask = net_feed(g, "mask", DT_INT64, DIMS(-1, length));
    ValueId y = NODE(g, "MatMul", "layer", "product", x, net_constant(g, "w", DT_FLOAT, DIMS(WIDTH, OUTPUTS), NULL));
    assert_ok(tensor_new(&axes, DT_INT64, &one, &err), &err);
    assert_ok(tensor_new(&along, DT_INT64, &one, &err), &err);
    tensor_set_int(&axes, 0, axis);
    tensor_set_int(&along, 0, first);
    ValueId column = NODE(g, "Unsqueeze", "unsqueeze", "column", mask, graph_add_constant(g, STR("axes"), &axes));
    ValueId keep = NODE(g, "Cast", "cast", "keep", column);
    assert_ok(graph_set_int(g, graph_value(g, keep)->producer, "to", DT_FLOAT, &err), &err);
    ValueId gone = NODE(g, "Sub", "sub", "gone", net_constant(g, "one", DT_FLOAT, DIMS(1), (double[]){ 1.0 }), keep);
    y = NODE(g, "Add", "behind", "behind_y", y, NODE(g, "Mul", "mul", "by", gone, net_constant(g, "off", DT_FLOAT, DIMS(1), &off)));
    y = NODE(g, "Add", "shift", "y", y, net_constant(g, "by_all", DT_FLOAT, DIMS(1), &shift));
    ValueId read = mixing == UNMASKED ? y : NODE(g, "Mul", "kept", "kept_y", y, keep);
    net_output(g, y);
    if (mixing != SHOWN) net_output(g, NODE(g, "ReduceSum", "sum", "s", read, graph_add_constant(g, STR("along"), &along)));
    tensor_release(&axes);
    tensor_release(&along);
    net_done(g);
    return g;
}

static Dataset *noise(int64_t length)
{
    Err err;
    Dataset *d;
    Graph *g = net(MASKED, 0.0, 0.0, length);
    Shape shapes[] = { shape_of(DIMS(1, length, WIDTH)), shape_of(DIMS(1, length)) };
    assert_ok(dataset_random(g, shapes, SAMPLES, 11, &d, &err), &err);
    graph_free(g);
    return d;
}

static void found(void **state)
{
    (void)state;
    static const struct { const char *name; Mixing mixing; int feed; } rows[] = {
        { "what is behind the mask reaches no sum", MASKED, 1 },
        { "it reaches a sum over all positions", UNMASKED, -1 },
        { "each position is read for itself", SHOWN, 1 },
    };
    Dataset *d = noise(LENGTH);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        Live l;
        Graph *g = net(rows[i].mixing, 0.0, 0.0, LENGTH);
        assert_ok(live_find(g, d, &(LiveOptions){ .threads = 1, .samples = 5 }, &l, &err), &err);
        if (l.feed != rows[i].feed) fail_msg("%s: input %d, not %d", rows[i].name, l.feed, rows[i].feed);
        if (l.feed >= 0) {
            Tensor in[2];
            assert_int_equal(l.samples, 5);
            assert_int_equal(l.positions, LENGTH);
            assert_ok(dataset_read(d, 0, 5, in, NULL, &err), &err);
            for (int64_t k = 0; k < 5 * LENGTH; k++) assert_int_equal(l.at[k], tensor_get_int(&in[1], k));
            tensor_release(&in[0]);
            tensor_release(&in[1]);
        }
        live_release(&l);
        graph_free(g);
    }
    dataset_free(d);
}

static double error_of(Mixing mixing, double off, double shift)
{
    Err err;
    Trial *t;
    double error = -1.0;
    Graph *a = net(mixing, 0.0, 0.0, LENGTH), *b = net(mixing, off, shift, LENGTH);
    Dataset *d = noise(LENGTH);
    assert_ok(trial_new(a, d, SAMPLES, 0, 1, 0, NULL, &t, &err), &err);
    assert_ok(trial_error(t, b, &error, &err), &err);
    trial_free(t);
    dataset_free(d);
    graph_free(a);
    graph_free(b);
    return error;
}

static void judged(void **state)
{
    (void)state;
    assert_true(error_of(MASKED, 100.0, 0.0) == 0.0);
    assert_true(error_of(SHOWN, 100.0, 0.0) == 0.0);
    assert_true(error_of(UNMASKED, 100.0, 0.0) > 1.0);
    assert_true(error_of(MASKED, 100.0, 0.1) == error_of(MASKED, 0.0, 0.1));
    assert_true(error_of(MASKED, 0.0, 0.1) > 1e-4);
}

static Status at_layer(void *user, const WalkLayer *w, Err *err)
{
    double *sums = user;
    (void)err;
    sums[0] = (double)w->count;
    sums[1] = 0.0;
    for (int i = 0; i < WIDTH; i++) sums[1] += w->square[i * WIDTH + i];
    return OK;
}

/* Columns and squares of the live positions alone, against sums taken by hand. */
static void walked(void **state)
{
    (void)state;
    Err err;
    Live l;
    Tensor in[2];
    double sums[2], count = 0.0, squares = 0.0;
    Graph *g = net(MASKED, 0.0, 0.0, LENGTH), *copy = net_clone(g);
    Dataset *d = noise(LENGTH);
    engine_bind(copy);
    assert_ok(live_find(g, d, &(LiveOptions){ .threads = 1 }, &l, &err), &err);
    assert_ok(dataset_read(d, 0, SAMPLES, in, NULL, &err), &err);
    for (int64_t k = 0; k < SAMPLES * LENGTH; k++) {
        if (tensor_get_int(&in[1], k) == 0) continue;
        count++;
        for (int64_t i = 0; i < WIDTH; i++) squares += tensor_get(&in[0], k * WIDTH + i) * tensor_get(&in[0], k * WIDTH + i);
    }
    WalkOptions options = { .threads = 1, .batch = 5, .live = &l };
    assert_ok(walk_layers(g, copy, d, &options, at_layer, sums, NULL, &err), &err);
    assert_true(sums[0] == count && count < SAMPLES * LENGTH);
    assert_near(sums[1], squares, 1e-9 * squares);
    options.positions = 2 * SAMPLES; /* two of each sample, all of them live */
    assert_ok(walk_layers(g, copy, d, &options, at_layer, sums, NULL, &err), &err);
    assert_true(sums[0] == 2 * SAMPLES);
    int64_t at[3 * LENGTH];
    int64_t picked = live_pick(&l, 4, 3, LENGTH, 2, 7, 1, at);
    assert_int_equal(picked, 6);
    for (int64_t k = 0; k < picked; k++) {
        assert_int_equal(at[k] / LENGTH, k / 2);
        assert_true(l.at[4 * LENGTH + at[k]] == 1 && (k % 2 == 0 || at[k] > at[k - 1]));
    }
    assert_false(live_covers(&l, SAMPLES - 1, 2, LENGTH));
    options.positions = 0;
    options.live = NULL;
    assert_ok(walk_layers(g, copy, d, &options, at_layer, sums, NULL, &err), &err);
    assert_true(sums[0] == SAMPLES * LENGTH);
    tensor_release(&in[0]);
    tensor_release(&in[1]);
    live_release(&l);
    dataset_free(d);
    graph_free(g);
    graph_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(found), cmocka_unit_test(judged), cmocka_unit_test(walked) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
