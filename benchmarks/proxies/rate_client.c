/* An open-loop client: begins calls at random moments of a given rate, whether or not earlier ones have ended.
 *
 * Usage: rate_client PORT RATE SECONDS SEED < REQUEST. The request is sent as it is, on connections kept
 * alive. A call's time counts from the moment it was due, so that a slow proxy can't hide its queue. Leaves
 * one line of JSON: calls, p50_ms, p99_ms (the whole reply), ttft50_ms, ttft99_ms (the first event of a
 * stream, else the first byte), and failed: calls refused, broken off or not answered with 200.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_LIMIT = 4096, REQUEST_LIMIT = 1 << 20, CONNECTIONS = 4096, EVENTS = 256 };
static const double WARM_UP = 0.1;     /* of the calls are not counted */
static const double PATIENCE_S = 3;    /* for the last replies */

typedef struct Connection {
    int fd, number, busy;              /* number: of the call */
    double due_s, first_s;
    char head[HEAD_LIMIT + 1], end[5]; /* end: the last bytes of a chunked body */
    size_t head_filled;
    long left;                         /* -2: the head isn't whole; -1: chunked */
} Connection;

static Connection *idle[CONNECTIONS];
static int idle_count, opened, failed, ended, skipped, measured;
static char request[REQUEST_LIMIT];
static size_t request_size;
static double *whole_s, *first_s;
static struct sockaddr_in server = { .sin_family = AF_INET };

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static Connection *open_connection(int epoll) {
    if (opened == CONNECTIONS) return NULL;
    Connection *c = calloc(1, sizeof *c);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0) return NULL;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    opened++;
    return c;
}

static void begin_call(int epoll, int number, double due_s) {
    Connection *c = idle_count ? idle[--idle_count] : open_connection(epoll);
    if (!c) {
        failed++;
        ended++;
        return;
    }
    c->number = number;
    c->busy = 1;
    c->due_s = due_s;
    c->first_s = 0;
    c->head_filled = 0;
    c->left = -2;
    memset(c->end, 0, sizeof c->end);
    for (size_t sent = 0; sent < request_size;) {  /* blocking: a request fits into the socket's buffer */
        ssize_t n = send(c->fd, request + sent, request_size - sent, MSG_NOSIGNAL);
        if (n < 0) break;                          /* seen as a lost connection when it is read */
        sent += (size_t)n;
    }
}

static void end_call(Connection *c) {
    double now = now_s();
    ended++;
    c->busy = 0;
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) {
        failed++;
    } else if (c->number >= skipped) {
        whole_s[measured] = now - c->due_s;
        first_s[measured++] = c->first_s - c->due_s;
    }
    idle[idle_count++] = c;
}

static void take_body(Connection *c, const char *bytes, size_t size) {
    if (size == 0 && c->left != 0) return;
    if (!c->first_s) c->first_s = now_s();
    if (c->left >= 0) {
        c->left -= (long)size;
        if (c->left <= 0) end_call(c);
        return;
    }
    if (size >= 5) {
        memcpy(c->end, bytes + size - 5, 5);
    } else {
        memmove(c->end, c->end + size, 5 - size);
        memcpy(c->end + 5 - size, bytes, size);
    }
    if (memcmp(c->end, "0\r\n\r\n", 5) == 0) end_call(c);
}

static void take(Connection *c, const char *bytes, size_t size) {
    if (c->left != -2) {
        take_body(c, bytes, size);
        return;
    }
    size_t room = HEAD_LIMIT - c->head_filled, before = c->head_filled;
    memcpy(c->head + before, bytes, size < room ? size : room);
    c->head_filled += size < room ? size : room;
    c->head[c->head_filled] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return;
    size_t head_size = (size_t)(end - c->head) + 4;
    *end = 0;
    char *length = strcasestr(c->head, "content-length:");
    c->left = length ? atol(length + 15) : -1;
    take_body(c, bytes + (head_size - before), size - (head_size - before));
}

static void receive(Connection *c) {
    static char bytes[1 << 18];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got > 0) {
        if (c->busy) take(c, bytes, (size_t)got);
        return;
    }
    if (c->busy) {
        failed++;
        ended++;
    }
    for (int i = 0; i < idle_count; i++)
        if (idle[i] == c) idle[i] = idle[--idle_count];
    close(c->fd);
    free(c);
}

static void set_timer(int timer, double at_s) {
    struct itimerspec when = { .it_value = { (time_t)at_s, (long)((at_s - floor(at_s)) * 1e9) } };
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(double *sorted, double part) {
    return measured ? sorted[(int)((measured - 1) * part)] * 1e3 : 0;
}

int main(int count, char **words) {
    if (count != 5) return 2;
    double rate = atof(words[2]), seconds = atof(words[3]);
    int calls = (int)(rate * seconds), begun = 0, epoll = epoll_create1(0);
    server.sin_port = htons((unsigned short)atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    srand48(atol(words[4]));
    request_size = fread(request, 1, sizeof request, stdin);
    whole_s = calloc((size_t)calls + 1, sizeof *whole_s);
    first_s = calloc((size_t)calls + 1, sizeof *first_s);
    skipped = (int)(calls * WARM_UP);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL }, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
    for (int i = 0; i < 8; i++) {
        Connection *c = open_connection(epoll);
        if (c) idle[idle_count++] = c;
    }
    double due_s = now_s() + 0.05, give_up_s = due_s + seconds * 1.5 + PATIENCE_S;
    set_timer(timer, due_s);
    while (ended < calls && now_s() < give_up_s) {
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < ready; i++)
            if (events[i].data.ptr) receive(events[i].data.ptr);
        if (begun == calls || due_s > now_s()) continue;
        while (begun < calls && due_s <= now_s()) {
            begin_call(epoll, begun++, due_s);
            due_s += -log(1 - drand48()) / rate;
        }
        set_timer(timer, due_s);
    }
    failed += calls - ended;
    qsort(whole_s, (size_t)measured, sizeof *whole_s, compare);
    qsort(first_s, (size_t)measured, sizeof *first_s, compare);
    printf("{\"calls\": %d, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"ttft50_ms\": %.4f, \"ttft99_ms\": %.4f, "
           "\"failed\": %d}\n", calls, percentile_ms(whole_s, 0.5), percentile_ms(whole_s, 0.99),
           percentile_ms(first_s, 0.5), percentile_ms(first_s, 0.99), failed);
    return 0;
}
