/* ESP-IDF's linux target: the simulator, with its options in the environment variable
 * EARMARK_SIM_ARGS (separated by spaces) because app_main has none. */
#include <stdlib.h>
#include <string.h>

int earmark_sim_main(int argc, char **argv);

enum { MAX_ARGUMENTS = 32 };

void app_main(void) {
    static char name[] = "earmark", empty[] = "";
    char *text = getenv("EARMARK_SIM_ARGS");
    char *arguments[MAX_ARGUMENTS + 1] = {name};
    char *rest = NULL;
    int n = 1;
    for (char *word = strtok_r(text ? text : empty, " ", &rest); word && n < MAX_ARGUMENTS;
         word = strtok_r(NULL, " ", &rest)) {
        arguments[n++] = word;
    }
    exit(earmark_sim_main(n, arguments));
}
