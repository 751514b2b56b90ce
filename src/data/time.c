/* time: RFC 3339 texts and milliseconds since 1970, without the system's calendar.
 *
 * Promises
 *  1. Years 1970 to 9999 in UTC, the proleptic Gregorian calendar, days of 86,400 seconds.
 *  2. Every time that is formatted parses to the same number; the texts sort as the numbers do.
 *  3. A text is taken whole or not at all: no blanks around it, no day that does not exist.
 *
 * Days are counted in a calendar whose year begins in March, so that the leap day comes last:
 * 400 years are 146,097 days, and the month lengths from March on follow (153 m + 2) / 5.
 */
#include "data.h"

#define TIME_DAY_MS 86400000

static int64_t time_days(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, in_era = year - era * 400;
    int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static void time_put(char *out, int64_t v, int digits) {
    while (digits) {
        out[--digits] = (char)('0' + v % 10);
        v /= 10;
    }
}

AGT_PRIVATE void agt__time_format(int64_t unix_ms, char out[AGT_TIME_TEXT]) {
    if (unix_ms < 0) unix_ms = 0;
    if (unix_ms > AGT_TIME_MAX) unix_ms = AGT_TIME_MAX;
    int64_t days = unix_ms / TIME_DAY_MS + 719468, ms = unix_ms % TIME_DAY_MS;
    int64_t era = days / 146097, day = days % 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    int64_t month = (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;
    month += month < 10 ? 3 : -9;
    memcpy(out, "0000-00-00T00:00:00.000Z", AGT_TIME_TEXT);
    time_put(out, era * 400 + year + (month <= 2), 4);
    time_put(out + 5, month, 2);
    time_put(out + 8, day + 1, 2);
    time_put(out + 11, ms / 3600000, 2);
    time_put(out + 14, ms / 60000 % 60, 2);
    time_put(out + 17, ms / 1000 % 60, 2);
    time_put(out + 20, ms % 1000, 3);
}

/* Reads exactly `digits` decimal digits; -1 if they are not. */
static int64_t time_number(const char *s, int digits) {
    int64_t v = 0;
    for (int i = 0; i < digits; i++) {
        if (s[i] < '0' || s[i] > '9') return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

static int64_t time_month_days(int64_t year, int64_t month) {
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* "YYYY-MM-DDTHH:MM:SS" to milliseconds; `s` has 19 bytes. */
static bool time_parse_seconds(const char *s, int64_t *ms, bool *leap) {
    int64_t year = time_number(s, 4), month = time_number(s + 5, 2), day = time_number(s + 8, 2);
    int64_t h = time_number(s + 11, 2), m = time_number(s + 14, 2), sec = time_number(s + 17, 2);
    if (s[4] != '-' || s[7] != '-' || (s[10] | 0x20) != 't' || s[13] != ':' || s[16] != ':')
        return false;
    if (year < 0 || month < 1 || month > 12 || day < 1 || day > time_month_days(year, month))
        return false;
    if (h < 0 || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 60) return false;
    *leap = sec == 60;
    *ms = time_days(year, month, day) * TIME_DAY_MS + h * 3600000 + m * 60000 +
          (*leap ? 59999 : sec * 1000);
    return true;
}

/* "Z" or "+HH:MM" to milliseconds east of UTC. */
static bool time_parse_offset(const char *s, size_t n, int64_t *ms) {
    *ms = 0;
    if (n == 1) return (s[0] | 0x20) == 'z';
    if (n != 6 || (s[0] != '+' && s[0] != '-') || s[3] != ':') return false;
    int64_t h = time_number(s + 1, 2), m = time_number(s + 4, 2);
    if (h < 0 || h > 23 || m < 0 || m > 59) return false;
    *ms = (h * 60 + m) * (s[0] == '-' ? -60000 : 60000);
    return true;
}

AGT_PRIVATE bool agt__time_parse(const char *s, size_t n, int64_t *unix_ms) {
    int64_t ms, offset, unit = 100, fraction = 0;
    size_t at = 19;
    bool leap;
    if (n < 20 || !time_parse_seconds(s, &ms, &leap)) return false;
    if (s[at] == '.') {
        for (at = 20; at < n && s[at] >= '0' && s[at] <= '9'; at++) {
            fraction += (s[at] - '0') * unit;
            unit /= 10;
        }
        if (at == 20 || at > 29) return false;
    }
    if (!time_parse_offset(s + at, n - at, &offset)) return false;
    ms += (leap ? 0 : fraction) - offset;
    if (ms < 0 || ms > AGT_TIME_MAX) return false;
    *unix_ms = ms;
    return true;
}
