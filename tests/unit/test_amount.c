/* SPDX-License-Identifier: Apache-2.0 */
/* ctl/amount: numbers in a few characters, and what is left of a transfer. */
#include "ctl/amount.h"

#include <string.h>

#include "unit.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

static void
bytes_are_three_digits_or_four_and_never_too_many(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {1, "1 B"},
        {1023, "1023 B"},
        {KIB, "1.00 KiB"},
        {KIB + 10, "1.00 KiB"},
        {KIB + 11, "1.01 KiB"},
        {KIB + 512, "1.50 KiB"},
        {10 * KIB - 1, "9.99 KiB"},
        {10 * KIB, "10.0 KiB"},
        {100 * KIB - 1, "99.9 KiB"},
        {100 * KIB, "100 KiB"},
        {MIB - 1, "1023 KiB"},
        {MIB, "1.00 MiB"},
        {GIB - 1, "1023 MiB"},
        {GIB, "1.00 GiB"},
        {TIB + TIB / 2, "1.50 TiB"},
        {1024 * TIB, "1.00 PiB"},
        {INT64_MAX, "7.99 EiB"},
        {UINT64_MAX - 1, "15.9 EiB"},
        {AMOUNT_UNKNOWN, "-"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[AMOUNT_SIZE], rate[AMOUNT_SIZE];

        assert_string_equal(amount_format(text, rows[i].bytes), rows[i].text);
        assert_row(strlen(text) <= 8, text);
        amount_format_rate(rate, rows[i].bytes);
        assert_row(strncmp(rate, text, strlen(text)) == 0, text);
        assert_string_equal(rate + strlen(text),
                            rows[i].bytes == AMOUNT_UNKNOWN ? "" : "/s");
    }
}

static void
a_span_has_its_two_largest_units(void **state)
{
    static const struct {
        uint64_t span_s;
        const char *text;
    } rows[] = {
        {0, "0:00"},
        {59, "0:59"},
        {60, "1:00"},
        {3599, "59:59"},
        {3600, "1h00m"},
        {3659, "1h00m"},
        {3660, "1h01m"},
        {86399, "23h59m"},
        {86400, "1d00h"},
        {100 * UINT64_C(86400) - 1, "99d23h"},
        {100 * UINT64_C(86400), "-"},
        {AMOUNT_UNKNOWN, "-"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[AMOUNT_SIZE];

        assert_string_equal(amount_format_span(text, rows[i].span_s),
                            rows[i].text);
        assert_row(strlen(text) <= 6, text);
    }
}

static void
a_hundred_percent_is_all(void **state)
{
    static const struct {
        uint64_t done, total, percent;
    } rows[] = {
        {0, 100, 0},        {1, 100, 1},
        {99, 100, 99},      {100, 100, 100},
        {101, 100, 100},    {0, 0, 100},
        {TIB - 1, TIB, 99}, {UINT64_MAX - 2, UINT64_MAX - 1, 99},
        {TIB / 2, TIB, 50}, {5, AMOUNT_UNKNOWN, AMOUNT_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(amount_percent(rows[i].done, rows[i].total),
                         rows[i].percent);
}

static void
what_is_left_takes_as_long_as_the_rate_says(void **state)
{
    static const struct {
        uint64_t done, total, rate, left_s;
    } rows[] = {
        {0, 100, 10, 10},
        {1, 100, 10, 10},
        {10, 100, 10, 9},
        {99, 100, 1000, 1},
        {100, 100, 10, 0},
        {100, 100, 0, 0},
        {150, 100, 10, 0},
        {0, 100, 0, AMOUNT_UNKNOWN},
        {0, AMOUNT_UNKNOWN, 10, AMOUNT_UNKNOWN},
        {0, UINT64_MAX - 1, 1, AMOUNT_UNKNOWN},
        {0, UINT64_MAX - 1, UINT64_MAX, 1},
        {0, 100 * UINT64_C(86400) - 1, 1, 100 * UINT64_C(86400) - 1},
        {0, 100 * UINT64_C(86400), 1, AMOUNT_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(
            amount_left_s(rows[i].done, rows[i].total, rows[i].rate),
            rows[i].left_s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_three_digits_or_four_and_never_too_many),
        cmocka_unit_test(a_span_has_its_two_largest_units),
        cmocka_unit_test(a_hundred_percent_is_all),
        cmocka_unit_test(what_is_left_takes_as_long_as_the_rate_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
