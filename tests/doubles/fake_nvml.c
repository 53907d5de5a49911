/* A libnvidia-ml.so.1 of our own: two cards, a MIG instance of the first, and levers (fake_*) for all that can go wrong.
 *
 * It has just the functions that rnnbench calls through pynvml. Each notes that it was called, so that a test can walk
 * them without a list of its own. A function is left out of the library by -DnvmlName=left_out_nvmlName.
 */
#include <string.h>

typedef unsigned int u32;
typedef unsigned long long u64;

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };

/* Everything that fake_set can set, with what the first card has; fake_reset says where the others differ. */
#define NUMBERS(X)                    \
    X(memory_total, 85899345920)      \
    X(memory_free, 85362474880)       \
    X(memory_used, 536871040)         \
    X(power_limit, 700000)            \
    X(default_power_limit, 650000)    \
    X(power, 123450)                  \
    X(power_instant, 130500)          \
    X(power_instant_code, 0)          \
    X(energy, 5000000)                \
    X(energy_step, 0)                 \
    X(max_sm_clock, 1980)             \
    X(max_memory_clock, 2619)         \
    X(sm_clock, 1755)                 \
    X(memory_clock, 2618)             \
    X(temperature, 41)                \
    X(clock_reasons, 0x4)             \
    X(ecc, 1)                         \
    X(ecc_errors, 3)                  \
    X(mig_mode, 0)                    \
    X(persistence, 1)                 \
    X(compute_mode, 3)                \
    X(cuda_version, 13000)            \
    X(cards, 2)

typedef struct { u32 pid; u64 used; u32 instance, compute_instance; } Process; /* nvmlProcessInfo_t, v2 and v3 */
typedef struct { u64 total, free, used; } Memory;                              /* nvmlMemory_t */
typedef struct { u32 version, sensor; int temperature; } Temperature;          /* nvmlTemperature_v1_t */

typedef struct { /* nvmlFieldValue_t */
    u32 id, scope;
    long long timestamp, latency;
    u32 type;
    int code;
    union { u32 number; u64 wide; } value;
} Field;

typedef struct {
    char uuid[96], name[96];
    int mig, lost;
    u64
#define FIELD(name, value) name,
        NUMBERS(FIELD)
#undef FIELD
        end;
    Process processes[16];
    u32 running;
} Card;

static Card cards[3]; /* two cards and the MIG instance */

static struct { const char *name; int calls, code; } functions[64];

/* ------------------------------------------------------------------------------------------------ the levers */

static int slot(const char *name) {
    int i = 0;
    while (functions[i].name && strcmp(functions[i].name, name)) i++;
    if (!functions[i].name) functions[i].name = strdup(name);
    return i;
}

void fake_fail(const char *name, int code) { functions[slot(name)].code = code; }

const char *fake_function(int index) { return index < 64 ? functions[index].name : 0; }

int fake_calls(int index) { return functions[index].calls; }

void fake_forget_calls(void) { for (int i = 0; i < 64; i++) functions[i].calls = 0; }

void fake_lose(int card) { cards[card].lost = 1; }

void fake_name(int card, const char *bytes) { strncpy(cards[card].name, bytes, sizeof cards[card].name - 1); }

void fake_run(int card, u32 pid, u64 used) {
    cards[card].processes[cards[card].running++] = (Process){pid, used, (u32)-1, (u32)-1};
}

void fake_stop_all(int card) { cards[card].running = 0; }

const char *fake_number(int index) {
    static const char *const names[] = {
#define NAME(name, value) #name,
        NUMBERS(NAME)
#undef NAME
        0};
    return names[index];
}

int fake_set(int card, const char *name, u64 value) {
#define SET(field, start) if (!strcmp(name, #field)) return cards[card].field = value, 0;
    NUMBERS(SET)
#undef SET
    return -1;
}

__attribute__((constructor)) void fake_reset(void) {
    static const char *const uuids[] = {"GPU-00000000-aaaa-bbbb-cccc-111111111111",
                                        "GPU-00000000-aaaa-bbbb-cccc-222222222222",
                                        "MIG-00000000-aaaa-bbbb-cccc-333333333333"};
    static const char *const names[] = {"Fake H100", "Fake H200", "Fake H100 MIG 1g.10gb"};
    memset(cards, 0, sizeof cards);
    for (int i = 0; i < 64; i++) functions[i].calls = functions[i].code = 0;
    for (int i = 0; i < 3; i++) {
        strcpy(cards[i].uuid, uuids[i]);
        strcpy(cards[i].name, names[i]);
        cards[i].mig = i == 2;
#define START(name, value) cards[i].name = value;
        NUMBERS(START)
#undef START
    }
    cards[1].power = 234560;
    cards[1].energy = 7000000;
    cards[2].memory_total = 10737418240;
    cards[2].memory_free = 10733223936;
    cards[2].memory_used = 4194304;
}

/* ------------------------------------------------------------------------------------------------- NVML itself */

static int enter(const char *name) {
    int i = slot(name);
    functions[i].calls++;
    return functions[i].code;
}

#define ENTER()                        \
    do {                               \
        int code = enter(__func__);    \
        if (code) return code;         \
    } while (0)

#define ENTER_CARD(card)                                \
    do {                                                \
        ENTER();                                        \
        if (!(card)) return INVALID_ARGUMENT;           \
        if ((card)->lost) return GPU_IS_LOST;           \
    } while (0)

/* As NVML does, nothing is written where the answer is an error. */
#define ONE(function, type, field)              \
    int function(Card *card, type *out) {       \
        ENTER_CARD(card);                       \
        *out = (type)card->field;               \
        return SUCCESS;                         \
    }

#define NOW_AND_LATER(function, field)                 \
    int function(Card *card, u32 *now, u32 *later) {   \
        ENTER_CARD(card);                              \
        *now = (u32)card->field;                       \
        *later = !*now;                                \
        return SUCCESS;                                \
    }

#define CLOCK(function, sm, memory)                                  \
    int function(Card *card, u32 type, u32 *out) {                   \
        ENTER_CARD(card);                                            \
        if (type != 1 && type != 2) return INVALID_ARGUMENT;         \
        *out = (u32)(type == 1 ? card->sm : card->memory);           \
        return SUCCESS;                                              \
    }

#define TEXT(function, field)                                        \
    int function(Card *card, char *out, u32 length) {                \
        ENTER_CARD(card);                                            \
        if (strlen(card->field) >= length) return INSUFFICIENT_SIZE; \
        strcpy(out, card->field);                                    \
        return SUCCESS;                                              \
    }

int nvmlInitWithFlags(u32 flags) {
    ENTER();
    return flags ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlSystemGetDriverVersion(char *out, u32 length) {
    ENTER();
    strncpy(out, "580.65.06", length);
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion(int *out) {
    ENTER();
    *out = (int)cards[0].cuda_version;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(u32 *out) {
    ENTER();
    *out = (u32)cards[0].cards;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(u32 index, Card **out) {
    ENTER();
    if (index >= 2) return INVALID_ARGUMENT;
    if (cards[index].lost) return GPU_IS_LOST;
    *out = &cards[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Card **out) {
    ENTER();
    for (int i = 0; i < 3; i++)
        if (!strcmp(cards[i].uuid, uuid)) {
            if (cards[i].lost) return GPU_IS_LOST;
            *out = &cards[i];
            return SUCCESS;
        }
    return NOT_FOUND;
}

int nvmlDeviceIsMigDeviceHandle(Card *card, u32 *out) { /* answers for a lost card too: it looks at the handle only */
    ENTER();
    *out = (u32)card->mig;
    return SUCCESS;
}

TEXT(nvmlDeviceGetName, name)
TEXT(nvmlDeviceGetUUID, uuid)
ONE(nvmlDeviceGetEnforcedPowerLimit, u32, power_limit)
ONE(nvmlDeviceGetPowerManagementDefaultLimit, u32, default_power_limit)
ONE(nvmlDeviceGetPowerUsage, u32, power)
ONE(nvmlDeviceGetPersistenceMode, u32, persistence)
ONE(nvmlDeviceGetComputeMode, u32, compute_mode)
ONE(nvmlDeviceGetCurrentClocksEventReasons, u64, clock_reasons)
ONE(nvmlDeviceGetCurrentClocksThrottleReasons, u64, clock_reasons)
NOW_AND_LATER(nvmlDeviceGetEccMode, ecc)
NOW_AND_LATER(nvmlDeviceGetMigMode, mig_mode)
CLOCK(nvmlDeviceGetClockInfo, sm_clock, memory_clock)
CLOCK(nvmlDeviceGetMaxClockInfo, max_sm_clock, max_memory_clock)

int nvmlDeviceGetTotalEnergyConsumption(Card *card, u64 *out) {
    ENTER_CARD(card);
    *out = card->energy;
    card->energy += card->energy_step; /* a step of -1 wraps around to what it should */
    return SUCCESS;
}

int nvmlDeviceGetFieldValues(Card *card, int count, Field *out) {
    ENTER_CARD(card);
    if (count != 1 || out->id != 186) return INVALID_ARGUMENT;
    out->code = (int)card->power_instant_code;
    if (!out->code) out->value.number = (u32)card->power_instant;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Card *card, Memory *out) {
    ENTER_CARD(card);
    *out = (Memory){card->memory_total, card->memory_free, card->memory_used};
    return SUCCESS;
}

int nvmlDeviceGetTemperature(Card *card, u32 sensor, u32 *out) {
    ENTER_CARD(card);
    if (sensor) return INVALID_ARGUMENT;
    *out = (u32)card->temperature;
    return SUCCESS;
}

int nvmlDeviceGetTemperatureV(Card *card, Temperature *out) {
    ENTER_CARD(card);
    if (out->version != (sizeof *out | 1 << 24) || out->sensor) return INVALID_ARGUMENT;
    out->temperature = (int)card->temperature;
    return SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(Card *card, u32 type, u32 counter, u64 *out) {
    ENTER_CARD(card);
    if (type != 1 || counter != 0) return INVALID_ARGUMENT; /* uncorrected; volatile */
    *out = card->ecc_errors;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Card *card, u32 *count, Process *out) {
    ENTER_CARD(card);
    u32 room = *count;
    *count = card->running;
    if (room < card->running) return INSUFFICIENT_SIZE;
    if (card->running) memcpy(out, card->processes, card->running * sizeof *out);
    return SUCCESS;
}
