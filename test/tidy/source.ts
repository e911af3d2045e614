// Reads TypeScript for the tidy checks: which modules a file imports, and its code without comments.

import ts from 'typescript';

/** A file of the project: its path from the root, with forward slashes, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

export interface ModuleImport {
  /** The text between the quotes. */
  readonly specifier: string;
  readonly line: number;
  /** True when nothing of the import is left in the compiled file. */
  readonly typeOnly: boolean;
}

function parse(file: SourceFile): ts.SourceFile {
  return ts.createSourceFile(file.path, file.text, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
}

/** Every import, re-export and dynamic import that names its module in plain text. */
export function importsOf(file: SourceFile): ModuleImport[] {
  const tree = parse(file);
  const found: ModuleImport[] = [];

  function add(specifier: ts.Node | undefined, typeOnly: boolean): void {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    const line = tree.getLineAndCharacterOfPosition(specifier.getStart(tree)).line + 1;
    found.push({ specifier: specifier.text, line, typeOnly });
  }

  function visit(node: ts.Node): void {
    if (ts.isImportDeclaration(node)) {
      // `import { type A }` keeps an empty import at run time, so only `import type` counts.
      const isType = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
      add(node.moduleSpecifier, isType);
    } else if (ts.isExportDeclaration(node)) {
      add(node.moduleSpecifier, node.isTypeOnly);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], false);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal, true);
    }
    ts.forEachChild(node, visit);
  }

  visit(tree);
  return found;
}

/**
 * The file's code with comments and the insides of strings replaced by spaces, so that prose may
 * use a word that code may not. Lines keep their numbers.
 */
export function codeOnly(file: SourceFile): string {
  const tree = parse(file);
  const kept = file.text.replace(/[^\n]/g, ' ').split('');

  function visit(node: ts.Node): void {
    if (ts.isJSDoc(node) || isText(node)) return;
    const children = node.getChildren(tree);
    if (children.length > 0) {
      for (const child of children) visit(child);
      return;
    }
    for (let i = node.getStart(tree); i < node.end; i++) kept[i] = file.text[i]!;
  }

  visit(tree);
  return kept.join('');
}

function isText(node: ts.Node): boolean {
  return (
    ts.isStringLiteralLike(node) ||
    ts.isRegularExpressionLiteral(node) ||
    ts.isTemplateHead(node) ||
    ts.isTemplateMiddleOrTemplateTail(node)
  );
}
