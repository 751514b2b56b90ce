/* times: what is printed and what is typed. The calendar is computed, and in UTC, so that no locale
 * of the machine has a say; only what is said to people (time_relative) is in their time zone. */
#include "cli.h"

#include "text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define TIME_MAX_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define TIME_DAY_S  INT64_C(86400)

/* Days since 1970-01-01, by counting years from March so that the leap day comes last. */
static int64_t time_days(int64_t year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y % 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void time_date(int64_t days, int *year, int *month, int *day) {
    int64_t z = days + 719468, era = z / 146097, of_era = z % 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

const char *time_rfc3339(int64_t unix_ms, char text[CLI_TIME_TEXT]) {
    int year, month, day;
    char wide[96]; /* the compiler does not know how small the numbers are */
    if (unix_ms < 0) unix_ms = 0;
    if (unix_ms > TIME_MAX_MS) unix_ms = TIME_MAX_MS;
    int in_day = (int)(unix_ms / 1000 % TIME_DAY_S);
    time_date(unix_ms / 1000 / TIME_DAY_S, &year, &month, &day);
    (void)snprintf(wide, sizeof wide, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month, day,
                   in_day / 3600, in_day / 60 % 60, in_day % 60, (int)(unix_ms % 1000));
    memcpy(text, wide, CLI_TIME_TEXT - 1);
    text[CLI_TIME_TEXT - 1] = 0;
    return text;
}

const char *time_exact(int64_t unix_ms, char text[CLI_TIME_TEXT]) {
    time_rfc3339(unix_ms, text);
    text[19] = 'Z';
    text[20] = 0;
    return text;
}

/* The local calendar: days since 1970-01-01 and minutes of the day; UTC where it cannot be told. */
static void time_local(int64_t unix_ms, int64_t *day, int *minute) {
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    *day = unix_ms / 1000 / TIME_DAY_S;
    *minute = (int)(unix_ms / 1000 % TIME_DAY_S / 60);
    if ((int64_t)seconds != unix_ms / 1000 || !localtime_r(&seconds, &tm)) return;
    *day = time_days(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    *minute = tm.tm_hour * 60 + tm.tm_min;
}

const char *time_relative(int64_t unix_ms, int64_t now, char text[CLI_TIME_TEXT]) {
    int64_t day, today, ago_s = (now - unix_ms) / 1000;
    static const char *const days[] = {"yesterday", "today", "tomorrow"};
    int minute, unused;
    char date[CLI_TIME_TEXT];
    time_local(unix_ms, &day, &minute);
    time_local(now, &today, &unused);
    if (ago_s >= 0 && ago_s < 60)
        (void)snprintf(text, CLI_TIME_TEXT, ago_s ? "%d s ago" : "now", (int)ago_s);
    else if (ago_s >= 0 && ago_s < 3600)
        (void)snprintf(text, CLI_TIME_TEXT, "%d min ago", (int)(ago_s / 60));
    else if (day >= today - 1 && day <= today + 1)
        (void)snprintf(text, CLI_TIME_TEXT, "%s %02d:%02d", days[day - today + 1], minute / 60 % 24,
                       minute % 60);
    else
        (void)snprintf(text, CLI_TIME_TEXT, "%.10s",
                       time_exact((day < 0 ? 0 : day) * TIME_DAY_S * 1000, date));
    return text;
}

int64_t time_now(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return 0;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- reading: a cursor over the text ---- */

typedef struct time_cursor {
    const char *s;
    size_t n, at;
} time_cursor;

static bool time_char(time_cursor *c, char want) {
    if (c->at >= c->n || c->s[c->at] != want) return false;
    c->at++;
    return true;
}

/* Exactly `digits` digits. */
static bool time_digits(time_cursor *c, int digits, int *out) {
    *out = 0;
    for (int i = 0; i < digits; i++, c->at++) {
        if (c->at >= c->n || c->s[c->at] < '0' || c->s[c->at] > '9') return false;
        *out = *out * 10 + (c->s[c->at] - '0');
    }
    return true;
}

/* Digits of a fraction, at least one; what is behind the milliseconds is cut. */
static bool time_fraction(time_cursor *c, int *ms) {
    int weight = 100;
    size_t from = c->at;
    *ms = 0;
    for (; c->at < c->n && c->s[c->at] >= '0' && c->s[c->at] <= '9'; c->at++, weight /= 10)
        *ms += (c->s[c->at] - '0') * weight;
    return c->at > from;
}

static bool time_read_date(time_cursor *c, int64_t *days) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    if (!time_digits(c, 4, &year) || !time_char(c, '-') || !time_digits(c, 2, &month) ||
        !time_char(c, '-') || !time_digits(c, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1) return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > lengths[month - 1] + (month == 2 && leap)) return false;
    *days = time_days(year, month, day);
    return true;
}

/* "hh:mm[:ss[.fff]]"; seconds only where `seconds` asks for them or they are there. */
static bool time_read_clock(time_cursor *c, bool seconds, int64_t *of_day_ms) {
    int hour, minute, second = 0, ms = 0;
    if (!time_digits(c, 2, &hour) || !time_char(c, ':') || !time_digits(c, 2, &minute))
        return false;
    if (time_char(c, ':')) {
        if (!time_digits(c, 2, &second)) return false;
        if (time_char(c, '.') && !time_fraction(c, &ms)) return false;
    } else if (seconds) {
        return false;
    }
    if (hour > 23 || minute > 59 || second > 60) return false;
    if (second == 60) { /* a leap second has no number of its own */
        second = 59;
        ms = 999;
    }
    *of_day_ms = ((int64_t)hour * 3600 + minute * 60 + second) * 1000 + ms;
    return true;
}

static bool time_read_offset(time_cursor *c, int64_t *offset_ms) {
    int hour, minute;
    *offset_ms = 0;
    if (time_char(c, 'Z') || time_char(c, 'z')) return true;
    bool west = time_char(c, '-');
    if (!west && !time_char(c, '+')) return false;
    if (!time_digits(c, 2, &hour) || !time_char(c, ':') || !time_digits(c, 2, &minute) ||
        hour > 23 || minute > 59)
        return false;
    *offset_ms = ((int64_t)hour * 60 + minute) * (west ? -60000 : 60000);
    return true;
}

static bool time_in_range(const time_cursor *c, int64_t ms, int64_t *unix_ms) {
    *unix_ms = ms;
    return c->at == c->n && ms >= 0 && ms <= TIME_MAX_MS;
}

bool time_parse(const char *s, size_t n, int64_t *unix_ms) {
    time_cursor c = {s, n, 0};
    int64_t days, of_day, offset;
    if (!time_read_date(&c, &days)) return false;
    if (!time_char(&c, 'T') && !time_char(&c, 't') && !time_char(&c, ' ')) return false;
    if (!time_read_clock(&c, true, &of_day) || !time_read_offset(&c, &offset)) return false;
    return time_in_range(&c, days * TIME_DAY_S * 1000 + of_day - offset, unix_ms);
}

bool time_parse_seconds(const char *s, size_t n, int64_t *unix_ms) {
    time_cursor c = {s, n, 0};
    int64_t seconds = 0;
    int ms = 0;
    for (; c.at < n && s[c.at] >= '0' && s[c.at] <= '9'; c.at++) {
        if (seconds > TIME_MAX_MS / 1000) return false;
        seconds = seconds * 10 + (s[c.at] - '0');
    }
    if (c.at == 0 || (time_char(&c, '.') && !time_fraction(&c, &ms))) return false;
    return time_in_range(&c, seconds * 1000 + ms, unix_ms);
}

/* "90s", "30m", "2h", "3d", "1w" ago. */
static bool time_parse_ago(const char *s, int64_t now, int64_t *unix_ms) {
    static const char units[] = "smhdw";
    static const int64_t unit_s[] = {1, 60, 3600, TIME_DAY_S, 7 * TIME_DAY_S};
    uint64_t amount;
    char digits[16];
    size_t n = strlen(s);
    if (n < 2 || n > sizeof digits) return false;
    const char *unit = strchr(units, s[n - 1]);
    memcpy(digits, s, n - 1);
    digits[n - 1] = 0;
    if (!unit || !text_number(digits, 100000000, &amount)) return false;
    int64_t ms = (int64_t)amount * unit_s[unit - units] * 1000;
    *unix_ms = ms < now ? now - ms : 1;
    return true;
}

bool time_parse_since(const char *s, int64_t now, int64_t *unix_ms) {
    time_cursor c = {s, strlen(s), 0};
    int64_t days, of_day = 0;
    if (strcmp(s, "now") == 0) {
        *unix_ms = now;
        return true;
    }
    if (s[0] == '@') return time_parse_seconds(s + 1, c.n - 1, unix_ms);
    if (time_parse_ago(s, now, unix_ms) || time_parse(s, c.n, unix_ms)) return true;
    if (!time_read_date(&c, &days)) return false;
    if (time_char(&c, ' ') && !time_read_clock(&c, false, &of_day)) return false;
    return time_in_range(&c, days * TIME_DAY_S * 1000 + of_day, unix_ms);
}
