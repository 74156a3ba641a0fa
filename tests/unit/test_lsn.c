#include "common/base/lsn.h"

#include "tests/support/test.h"

static const struct {
    const char *text;
    bool ok;
    Lsn lsn;
    const char *printed; // NULL: as text
} rows[] = {
    {"0/0", true, 0, NULL},
    {"0/3000148", true, 0x3000148, NULL},
    {"16/B374D848", true, UINT64_C(0x16B374D848), NULL},
    {"16/b374d848", true, UINT64_C(0x16B374D848), "16/B374D848"},
    {"FFFFFFFF/FFFFFFFF", true, UINT64_MAX, NULL},
    {"00000001/00000002", true, UINT64_C(0x100000002), "1/2"},
    {NULL, false, 0, NULL},
    {"", false, 0, NULL},
    {"/", false, 0, NULL},
    {"0/", false, 0, NULL},
    {"/0", false, 0, NULL},
    {"0", false, 0, NULL},
    {"0/0/0", false, 0, NULL},
    {"0/0 ", false, 0, NULL},
    {" 0/0", false, 0, NULL},
    {"0x1/0", false, 0, NULL},
    {"-1/0", false, 0, NULL},
    {"123456789/0", false, 0, NULL},
    {"0/123456789", false, 0, NULL},
    {"G/0", false, 0, NULL},
    {"0/3000148\n", false, 0, NULL},
};

static void test_parse_and_format(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *shown = rows[i].text == NULL ? "(null)" : rows[i].text;
        Lsn lsn = 77;
        if (lsn_parse(rows[i].text, &lsn) != rows[i].ok)
            fail_msg("%s: should%s parse", shown, rows[i].ok ? "" : " not");
        if (!rows[i].ok) {
            assert_int_equal(lsn, 77);
            continue;
        }
        assert_true(lsn == rows[i].lsn);
        assert_string_equal(lsn_format(lsn).text,
                            rows[i].printed == NULL ? rows[i].text : rows[i].printed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse_and_format)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
