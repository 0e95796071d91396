#include "test.h"

#include "pipeline/junit.h"

static void test_print(void **state)
{
    (void)state;
    const GoalResult size = { .name = "max-size", .limit = "32%", .allowed = 320, .found = 1067391, .low = NAN };
    const GoalResult time = { .name = "max-latency-ratio", .limit = "0.8", .allowed = 0.8, .found = 0.51, .low = 0.5, .high = 0.52,
                              .outcome = GOAL_MET, .met = true };
    const GoalResult drop = { .name = "max-accuracy-drop", .limit = "1", .allowed = 1, .found = NAN, .low = NAN };
    const JunitSuite suites[] = {
        { .name = "a <&> \"\x01\xff.onnx", .goals = { &drop, &size, &time }, .goal_count = 3, .seconds = 1.5 },
        { .name = "b.onnx", .seconds = NAN },
    };
    StrBuf b = { 0 };
    junit_print(suites, 2, &b);
    assert_string_equal(b.data,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuites name=\"pare\" tests=\"5\" failures=\"2\">\n"
        "  <testsuite name=\"a &lt;&amp;&gt; &quot;\\x01\\xff.onnx\" tests=\"4\" failures=\"2\" errors=\"0\" skipped=\"0\" "
        "time=\"1.500\">\n"
        "    <testcase classname=\"pare.a &lt;&amp;&gt; &quot;\\x01\\xff.onnx\" name=\"done\"/>\n"
        "    <testcase classname=\"pare.a &lt;&amp;&gt; &quot;\\x01\\xff.onnx\" name=\"max-accuracy-drop 1\">\n"
        "      <failure type=\"goal\" message=\"not measured, allowed 1 points\"/>\n"
        "    </testcase>\n"
        "    <testcase classname=\"pare.a &lt;&amp;&gt; &quot;\\x01\\xff.onnx\" name=\"max-size 32%\">\n"
        "      <failure type=\"goal\" message=\"1,067,391 bytes, allowed 320 bytes\"/>\n"
        "    </testcase>\n"
        "    <testcase classname=\"pare.a &lt;&amp;&gt; &quot;\\x01\\xff.onnx\" name=\"max-latency-ratio 0.8\"/>\n"
        "  </testsuite>\n"
        "  <testsuite name=\"b.onnx\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\">\n"
        "    <testcase classname=\"pare.b.onnx\" name=\"done\"/>\n"
        "  </testsuite>\n"
        "</testsuites>\n");
    strbuf_release(&b);
}

static void test_write(void **state)
{
    (void)state;
    Err err;
    const JunitSuite suite = { .name = "net.onnx", .seconds = NAN };
    assert_int_equal(junit_write(&suite, 1, "/nowhere/goals.xml", &err), ERR_IO);
    assert_non_null(strstr(err.text, "/nowhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
